/** Files of a run: whole at any time, whatever is killed, and an error that says so where a disk is full. */
import { constants } from "node:fs";
import { copyFile, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EdgeT5Error } from "../../errors.ts";
import { StagedFile, syncFolder } from "../../store/staged-file.ts";

/** @throws EdgeT5Error `E_IO` */
export async function writeAtomically(path: string, content: string): Promise<void> {
  try {
    const staged = await StagedFile.create(dirname(path));
    try {
      await staged.write(new TextEncoder().encode(content));
      await staged.finish();
      await staged.commit(path);
    } finally {
      await staged.discard();
    }
  } catch (cause) {
    throw cannotWrite(path, cause);
  }
}

/**
 * Copies a folder of files in place of another one. What is there stays until the new one is whole.
 *
 * @throws EdgeT5Error `E_IO`
 */
export async function replaceFolder(from: string, to: string, leaveOut: readonly string[] = []): Promise<void> {
  const [temporary, old] = [besides(to, "tmp"), besides(to, "old")];
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    for (const name of await readdir(from)) {
      if (leaveOut.includes(name)) continue;
      await copyFile(join(from, name), join(temporary, name), constants.COPYFILE_FICLONE);
      await syncFile(join(temporary, name));
    }
    await syncFolder(temporary);
    await putInPlace(temporary, to);
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    await recoverFolder(to);
    throw cannotWrite(to, cause);
  }
  await rm(old, { recursive: true, force: true });
}

/** A folder that was written whole takes another one's place. */
async function putInPlace(temporary: string, to: string): Promise<void> {
  const old = besides(to, "old");
  await rm(old, { recursive: true, force: true });
  if (await isThere(to)) await rename(to, old);
  await rename(temporary, to);
  await syncFolder(dirname(to));
}

/** After a {@link replaceFolder} that was killed: the old folder, or the new one, and nothing else. */
export async function recoverFolder(path: string): Promise<void> {
  await rm(besides(path, "tmp"), { recursive: true, force: true });
  const old = besides(path, "old");
  if (!(await isThere(old))) return;
  if (await isThere(path)) await rm(old, { recursive: true, force: true });
  else await rename(old, path);
}

export async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}

export function cannotWrite(path: string, cause: unknown): unknown {
  if (cause instanceof EdgeT5Error || !(cause instanceof Error) || !("syscall" in cause)) return cause;
  const why = (cause as NodeJS.ErrnoException).code === "ENOSPC" ? "the disk is full" : cause.message;
  const message = `${path} could not be written: ${why}. The run's checkpoints are untouched: make room and resume.`;
  return new EdgeT5Error("E_IO", message, { cause });
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

function besides(path: string, kind: string): string {
  return join(dirname(path), `.${basename(path)}.${kind}`);
}
