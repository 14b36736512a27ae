/** A run's folder belongs to one process at a time; the lock of one that is gone counts for nothing. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { link, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { EdgeT5Error } from "../../errors.ts";
import { cannotWrite } from "./files.ts";

interface Holder {
  pid: number;
  host: string;
  /** When the process began, in the system's own ticks: its number may be another one's by now. */
  began: string;
}

export interface RunLock {
  release(): Promise<void>;
}

export const LOCK_FILE = "lock";

/** @throws EdgeT5Error `E_BUSY` where another process, or another run of this one, has the folder; `E_IO` */
export async function lockRun(run: string): Promise<RunLock> {
  const path = join(run, LOCK_FILE);
  const own = join(run, `.lock.${randomUUID()}.tmp`);
  const content = JSON.stringify({ pid: process.pid, host: hostname(), began: beganAt(process.pid) } satisfies Holder);
  try {
    await mkdir(run, { recursive: true });
    await writeFile(own, content);
    // A link appears with its content, or not at all.
    while (!(await linked(own, path))) await removeStale(run, path);
  } catch (cause) {
    throw cannotWrite(path, cause);
  } finally {
    await rm(own, { force: true });
  }
  return { release: () => rm(path, { force: true }) };
}

async function linked(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** @throws EdgeT5Error `E_BUSY` for a lock whose process lives */
async function removeStale(run: string, path: string): Promise<void> {
  const text = await readFile(path, "utf8").catch(() => null);
  if (text === null) return;
  const holder = parse(text);
  if (holder && isAlive(holder)) throw busy(run, path, holder);
  // Another process may have taken the place of the stale lock meanwhile: only what was read is removed.
  const aside = join(run, `.lock.${randomUUID()}.tmp`);
  await rename(path, aside).catch(() => undefined);
  const moved = await readFile(aside, "utf8").catch(() => null);
  if (moved !== null && moved !== text) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

function parse(text: string): Holder | null {
  try {
    return JSON.parse(text) as Holder;
  } catch {
    return null;
  }
}

/** Of another machine nothing can be told: its lock holds. */
function isAlive({ pid, host, began }: Holder): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return beganAt(pid) === began;
}

/** Empty where the system does not tell. */
function beganAt(pid: number): string {
  try {
    // The name before it may hold anything, a parenthesis too (proc_pid_stat(5), field 22).
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return fields[19] ?? "";
  } catch {
    return "";
  }
}

function busy(run: string, path: string, { pid, host }: Holder): EdgeT5Error {
  const where = host === hostname() ? `process ${pid}` : `process ${pid} of ${host}`;
  const hint = host === hostname() ? "Stop it first" : `Stop it first, or remove ${path} if it is gone`;
  return new EdgeT5Error("E_BUSY", `${run} is in use by ${where}. ${hint}, or name another folder.`);
}
