/**
 * `npm run bench:cold [-- --json] [--rounds N] [--skip-workerd]`: from weights at hand to the first token of a prompt of 32
 * tokens, T5-small's shape at int8; medians over fresh processes.
 *
 * Node: `T5.fromPretrained` on a folder whose files the system has in memory, then one token: manifest, kernels, tokenizer,
 * reading, hashing and binding of the weights, encode, first step. Not in it: starting Node and loading our code. Reading is
 * other threads' work, so that the stages by themselves are more than the whole.
 *
 * workerd: the first completion that a fresh deployment answers, `max_tokens` 1, over HTTP: gateway and one Worker for both
 * halves under one `wrangler dev`, package in local R2: reading from there, and all of the above. Not in it: starting workerd
 * and loading our code.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { formatTable } from "../../src/cli/output.ts";
import { freePort } from "../../src/local/origin.ts";
import { seedR2 } from "../../src/local/seed-r2.ts";
import { serve } from "../../src/local/serve.ts";
import { writeWorkers } from "../../src/local/workers.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { makeKey } from "../local-key.ts";
import { median } from "./measure.ts";
import { BENCH, makeBenchPackage, prepareGateway, ROOT } from "./package.ts";
import { COLD_PROMPT_TOKENS, promptOf } from "./prompt.ts";

export const ROUNDS = 7;

/** Milliseconds of each stage by itself, in Node. */
export interface NodeStages {
  kernels_ms: number;
  manifest_ms: number;
  /** Reading, parsing, building, and encoding the prompt. */
  tokenizer_ms: number;
  /** Of the weights into fresh WASM memory, its pages' first touch included. */
  copy_ms: number;
  hash_ms: number;
  /** What else loading takes: reading the store, row sums, bias tables. */
  bind_ms: number;
  encode_ms: number;
  /** The decoder's opening and its first step. */
  step_ms: number;
}

export interface ColdInNode {
  first_token_ms: number;
  load_ms: number;
  stages: NodeStages;
}

/** @param dir the package */
export async function measureColdInNode(dir: string, rounds = ROUNDS): Promise<ColdInNode> {
  const script = fileURLToPath(new URL("./cold-node.ts", import.meta.url));
  const run = async <T>(mode: string) => {
    const { stdout } = await promisify(execFile)(process.execPath, [script, dir, mode]);
    return JSON.parse(stdout) as T;
  };
  const wholes: { load_ms: number; first_token_ms: number }[] = [];
  const stages: NodeStages[] = [];
  for (let round = 0; round < rounds; round++) {
    wholes.push(await run("whole"));
    stages.push(await run("stages"));
  }
  const names = Object.keys(stages[0] ?? {}) as (keyof NodeStages)[];
  return {
    first_token_ms: median(wholes.map(({ first_token_ms }) => first_token_ms)),
    load_ms: median(wholes.map(({ load_ms }) => load_ms)),
    stages: Object.fromEntries(
      names.map((name) => [name, median(stages.map((each) => each[name]))]),
    ) as unknown as NodeStages,
  };
}

export interface ColdInWorkerd {
  first_token_ms: number;
  /** The same request again: what is no part of the cold start. */
  second_request_ms: number;
}

/** @param dir the package; @param work folder for state */
export async function measureColdInWorkerd(dir: string, work: string, rounds = ROUNDS): Promise<ColdInWorkerd> {
  const { workers } = await writeWorkers(await readManifest(new FolderStore(dir)), join(work, "workers"), {
    root: ROOT,
    engine: "simd",
    oneWorker: true,
    readers: "none",
  });
  const state = join(work, "state");
  await seedR2(dir, ROOT, state);
  await prepareGateway(workers, state);
  const configs = workers.map(({ path }) => path).reverse();
  const firsts: number[] = [];
  const seconds: number[] = [];
  let key: string | undefined;
  // The first start is for a key, which the others find in the database.
  for (let round = -1; round < rounds; round++) {
    const port = await freePort();
    const stopping = new AbortController();
    const child = await serve({
      ...{ root: ROOT, port, host: "127.0.0.1", configs, state },
      ...{ registry: join(work, "registry"), signal: stopping.signal },
    });
    const ended = once(child, "exit");
    try {
      if (key === undefined) key = (await makeKey(`http://127.0.0.1:${port}`, state)).key;
      else {
        firsts.push(await completion(port, key));
        seconds.push(await completion(port, key));
      }
    } finally {
      stopping.abort();
      await ended;
    }
  }
  return { first_token_ms: median(firsts), second_request_ms: median(seconds) };
}

/** Milliseconds of a completion of one token. */
async function completion(port: number, key: string): Promise<number> {
  const body = JSON.stringify({ model: BENCH, prompt: promptOf(COLD_PROMPT_TOKENS), max_tokens: 1 });
  const started = performance.now();
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(`http://127.0.0.1:${port}/v1/completions`, { method: "POST", headers, body });
  const text = await response.text();
  const time = performance.now() - started;
  const { usage } = JSON.parse(text) as { usage?: { prompt_tokens: number; completion_tokens: number } };
  if (usage?.prompt_tokens !== COLD_PROMPT_TOKENS || usage.completion_tokens !== 1) throw new Error(text.slice(0, 300));
  return time;
}

export function coldTable(node: ColdInNode, workerd: ColdInWorkerd | null): string {
  const row = (what: string, ms: number) => [what, ms.toFixed(1).padStart(6)];
  return formatTable(
    ["", "MS"],
    [
      row("Node: a folder → first token", node.first_token_ms),
      row("Node: a folder → loaded", node.load_ms),
      ...Object.entries(node.stages).map(([name, ms]) => row(`  ${name.replace("_ms", "")}, by itself`, ms)),
      ...(workerd
        ? [
            row("workerd: first completion of one token", workerd.first_token_ms),
            row("workerd: the second", workerd.second_request_ms),
          ]
        : []),
    ],
  );
}

if (import.meta.main) {
  const { values: options } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: String(ROUNDS) },
      "skip-workerd": { type: "boolean", default: false },
    },
  });
  const rounds = Number(options.rounds);
  const work = await mkdtemp(join(tmpdir(), "edge-t5-cold-"));
  try {
    const dir = await makeBenchPackage(work);
    const node = await measureColdInNode(dir, rounds);
    const workerd = options["skip-workerd"] ? null : await measureColdInWorkerd(dir, work, rounds);
    if (options.json) {
      const figures = {
        first_token_ms_node: node.first_token_ms,
        ...(workerd && { first_token_ms_workerd: workerd.first_token_ms }),
      };
      console.log(JSON.stringify({ figures, node, workerd, rounds }));
    } else {
      console.log(coldTable(node, workerd));
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
