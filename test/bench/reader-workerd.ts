/** A Worker as it is deployed, in a workerd of its own: so that the process's memory is the Worker's. On Linux, which tells it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../src/local/origin.ts";
import { CONFIGS } from "./bundles.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** The program itself, not the script that starts it: its memory is measured. */
const WORKERD = (createRequire(import.meta.url)("workerd") as { default: string }).default;
const PATIENCE_MS = 20_000;

/** What a Worker's configuration says, as far as it is needed to serve it. */
export interface WorkerSettings {
  readonly vars: Readonly<Record<string, number>>;
  readonly date: string;
  readonly flags: readonly string[];
}

export async function settingsOf(worker: keyof typeof CONFIGS): Promise<WorkerSettings> {
  const toml = await readFile(join(ROOT, CONFIGS[worker]), "utf8");
  const numbers = [...toml.matchAll(/^([A-Z_]+) = ([\d_]+)$/gm)];
  const [, date = ""] = /^compatibility_date = "(.*)"$/m.exec(toml) ?? [];
  const [, flags = ""] = /^compatibility_flags = \[(.*)\]$/m.exec(toml) ?? [];
  return {
    vars: Object.fromEntries(numbers.map(([, name, value = ""]) => [name, Number(value.replaceAll("_", ""))])),
    date,
    flags: [...flags.matchAll(/"([^"]+)"/g)].map(([, flag = ""]) => flag),
  };
}

export class ServedWorker {
  readonly url: string;
  readonly #process: ChildProcess;
  readonly #dir: string;

  private constructor(url: string, process: ChildProcess, dir: string) {
    this.url = url;
    this.#process = process;
    this.#dir = dir;
  }

  /** @param bundle files by name, `index.js` the first to run */
  static async start(bundle: ReadonlyMap<string, Buffer>, settings: WorkerSettings): Promise<ServedWorker> {
    const dir = await mkdtemp(join(tmpdir(), "edge-t5-reader-"));
    for (const [name, bytes] of bundle) await writeFile(join(dir, name), bytes);
    const port = await freePort();
    await writeFile(join(dir, "config.capnp"), configuration([...bundle.keys()], settings, port));
    const started = spawn(WORKERD, ["serve", join(dir, "config.capnp")], { stdio: "ignore" });
    const worker = new ServedWorker(`http://127.0.0.1:${port}`, started, dir);
    await worker.#awake();
    return worker;
  }

  /** Megabytes by which the process grows at most while `work` runs. */
  async growth(work: () => Promise<void>): Promise<number> {
    const before = await resetPeak(this.#pid);
    await work();
    return (await peakOf(this.#pid)) - before;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill();
    await ended;
    await rm(this.#dir, { recursive: true, force: true });
  }

  get #pid(): number {
    return this.#process.pid ?? 0;
  }

  async #awake(): Promise<void> {
    for (const began = Date.now(); ; ) {
      const response = await fetch(`${this.url}/healthz`).catch(() => null);
      if (response?.ok) return;
      if (Date.now() - began > PATIENCE_MS) throw new Error("workerd does not answer.");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** From here on, the process's peak is counted anew. @returns megabytes that it has */
export async function resetPeak(pid: number): Promise<number> {
  await writeFile(`/proc/${pid}/clear_refs`, "5");
  return memoryOf(pid, "VmRSS");
}

/** Megabytes that the process had at most. */
export function peakOf(pid: number): Promise<number> {
  return memoryOf(pid, "VmHWM");
}

async function memoryOf(pid: number, name: "VmRSS" | "VmHWM"): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return (Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024) / 1e6;
}

function configuration(names: readonly string[], { vars, date, flags }: WorkerSettings, port: number): string {
  const moduleKind = (name: string) => (name.endsWith(".js") ? "esModule" : name.endsWith(".wasm") ? "wasm" : "data");
  const first = [...names].sort((a, b) => Number(b === "index.js") - Number(a === "index.js"));
  const modules = first.map((name) => `(name = "${name}", ${moduleKind(name)} = embed "${name}")`);
  const bindings = Object.entries(vars).map(([name, value]) => `(name = "${name}", json = "${value}")`);
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [${modules.join(", ")}],
    bindings = [${bindings.join(", ")}],
    compatibilityDate = "${date}",
    compatibilityFlags = [${flags.map((flag) => `"${flag}"`).join(", ")}],
  ))],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`;
}
