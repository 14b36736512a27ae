/** The kit as its users run it: `edge-t5 start` in a process of its own, reached over TCP. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { splitCheckpoint } from "../../model-split/index.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { freePort } from "../../src/local/origin.ts";
import { seedR2 } from "../../src/local/seed-r2.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { blobKey, readManifest } from "../../src/t5/manifest.ts";
import { T5_SMALL, writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { makeKey } from "../local-key.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const MAIN = join(ROOT, "src/cli/main.ts");

export interface HalfHealth {
  models: Record<
    string,
    | {
        state: string;
        loads: number;
        failures: number;
        steps: number;
        passes: number;
        rows: number;
        open_sequences: number;
      }
    | undefined
  >;
  /** Of a chain: the Worker before. */
  upstream?: HalfHealth;
}

export interface Health {
  status: string;
  encoder: HalfHealth;
  decoder: HalfHealth;
  /** Where it is bound. */
  reader?: { status: string; ocr?: { wasm_bytes: number; captions: boolean } };
}

export class Kit {
  readonly url: string;
  /** An API key that may do everything. */
  readonly key: string;
  /** The control plane's. */
  readonly adminToken: string;
  readonly #child: ChildProcess;
  readonly #output: string[];

  private constructor(url: string, key: string, adminToken: string, child: ChildProcess, output: string[]) {
    this.url = url;
    this.key = key;
    this.adminToken = adminToken;
    this.#child = child;
    this.#output = output;
  }

  /**
   * @param state folder of the local R2
   * @param args more arguments of `edge-t5 start`; `--demo` for what a first run makes, `--origin` for an origin, `--readers all` for Workers that read files
   */
  static async start(state: string, args: readonly string[] = []): Promise<Kit> {
    const port = await freePort();
    const output: string[] = [];
    const child = spawn(
      process.execPath,
      [
        MAIN,
        "start",
        "--port",
        String(port),
        "--state",
        state,
        ...(args.includes("--demo") ? [] : ["--no-demo"]),
        ...(args.includes("--origin") ? [] : ["--no-origin"]),
        ...(args.includes("--readers") ? [] : ["--readers", "none"]),
        ...args,
      ],
      // Where a user may stand: paths are theirs.
      { cwd: tmpdir(), stdio: ["ignore", "pipe", "pipe"] },
    );
    const welcome = new Promise<void>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          output.push(text);
          if (text.includes("edge-t5 serves") || text.startsWith('{"model"')) resolve();
        });
      }
      child.once("exit", (code) => reject(new Error(`edge-t5 start ended with ${code}:\n${output.join("")}`)));
    });
    await welcome;
    const url = `http://127.0.0.1:${port}`;
    // Where `edge-t5 start` stands.
    const { key, adminToken } = await makeKey(url, resolve(tmpdir(), state));
    return new Kit(url, key, adminToken, child, output);
  }

  /** With the key. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url + path, { ...init, headers: { authorization: `Bearer ${this.key}`, ...init.headers } });
  }

  /** The control plane. */
  async admin<Json = unknown>(method: string, path: string, body?: object): Promise<{ status: number; json: Json }> {
    const response = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${this.adminToken}` },
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: response.status, json: (await response.json()) as Json };
  }

  /** `POST /v1/completions` */
  complete(body: object, init: RequestInit = {}): Promise<Response> {
    return this.fetch("/v1/completions", { ...init, method: "POST", body: JSON.stringify(body) });
  }

  /** Everything printed so far. */
  get output(): string {
    return this.#output.join("");
  }

  /** With models by name: `/healthz` has them by `NAME@VERSION`. */
  async health(): Promise<Health> {
    const response = await fetch(`${this.url}/healthz`, { headers: { authorization: `Bearer ${this.adminToken}` } });
    const text = await response.text();
    return JSON.parse(text.replace(/("[\w.-]+)@[0-9a-f]{16}"/g, '$1"')) as Health;
  }

  /** Decoder steps made for a model so far; 0 before it is loaded. */
  async steps(model: string): Promise<number> {
    return (await this.health()).decoder.models[model]?.steps ?? 0;
  }

  /** Waits until the decoder makes no more steps. */
  async idleSteps(model: string): Promise<number> {
    for (let last = -1; ; ) {
      const steps = await this.steps(model);
      if (steps === last) return steps;
      last = steps;
      await delay(100);
    }
  }

  /** Ctrl-C. @returns the exit code */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGINT");
      await once(this.#child, "exit");
    }
    return this.#child.exitCode;
  }
}

/** Its answers are nonsense that never ends by itself, and take about a millisecond or two a token. */
export const ENDLESS = "endless";

/** A folder with a local R2 that holds the packaged default model and {@link ENDLESS}. */
export async function makeState(): Promise<{ state: string; remove(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-edge-"));
  const store = new FolderStore(DEFAULT_PACKAGE);
  const { model, tokenizer } = await readManifest(store);
  const checkpoint = join(dir, "checkpoint");
  await writeRandomCheckpoint(checkpoint, { ...T5_SMALL, num_layers: 1, vocab_size: model.vocabSize });
  if (!tokenizer || !("json" in tokenizer)) throw new Error("The packaged model has no tokenizer.json.");
  await copyFile(join(DEFAULT_PACKAGE, blobKey(tokenizer.json)), join(checkpoint, "tokenizer.json"));
  await splitCheckpoint(checkpoint, join(dir, ENDLESS), { name: ENDLESS });
  const state = join(dir, "state");
  await seedR2(join(dir, ENDLESS), ROOT, state);
  await seedR2(DEFAULT_PACKAGE, ROOT, state);
  return { state, remove: () => rm(dir, { recursive: true, force: true }) };
}
