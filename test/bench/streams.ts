/**
 * Concurrent streams of one isolate: tokens a second of 4, 8 and 16 beside one stream's, on the engine in Node and over HTTP
 * through the Workers, each divided by its ceiling: as many times one stream's tokens as there are streams, or as dot
 * products allow once they, not memory, are what a pass waits for.
 */
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { formatTable } from "../../src/cli/output.ts";
import { loadSimdEngine } from "../../src/engines/simd/index.ts";
import type { KernelName } from "../../src/kernels/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { freePort } from "../../src/local/origin.ts";
import { seedR2 } from "../../src/local/seed-r2.ts";
import { serve } from "../../src/local/serve.ts";
import { writeWorkers } from "../../src/local/workers.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { makeKey } from "../local-key.ts";
import { DIGITS } from "./floors.ts";
import { median } from "./measure.ts";
import { BENCH, prepareGateway, ROOT } from "./package.ts";
import { promptOf } from "./prompt.ts";
import { FIRST_POSITION, PROMPT_TOKENS, prompt, STEPS } from "./subject.ts";

const COUNTS = [1, 4, 8, 16] as const;
export const NEW_TOKENS = 64;

/** Tokens a second of concurrent streams. */
interface Rate {
  /** While all of them stream: from the last one's first token to the first one's last. */
  streaming: number;
  /** From the first byte sent to the last received, the prompts' encoding included; over HTTP. */
  whole?: number;
}

/** Of one runtime, by the number of streams. */
export interface StreamFigures {
  tokensPerSecond: Record<number, number>;
  wholeTokensPerSecond: Record<number, number>;
  /** Of 4, 8 and 16: tokens a second ÷ one stream's. */
  gain: Record<number, number>;
}

/** A pass of N rows in Node, around position 32 after a prompt of 128 tokens. @param dir the package */
export async function measureStreamsInNode(dir: string, name: KernelName, rounds: number): Promise<StreamFigures> {
  const store = new FolderStore(dir);
  const manifest = await readManifest(store);
  const limits = { maxInputTokens: PROMPT_TOKENS, maxNewTokens: NEW_TOKENS, maxSequences: 16 };
  const kernels = await loadKernels(name);
  const { encoder, decoder } = await loadSimdEngine({
    manifest,
    store,
    kernels,
    roles: ["encoder", "decoder"],
    limits,
  });
  const hidden = await encoder.encode(prompt());
  return inTurns(rounds, async (streams) => {
    const inputs = Array.from({ length: streams }, () => ({ hidden, maxNewTokens: NEW_TOKENS }));
    const sequences = await decoder.openAll(inputs);
    const tokens = sequences.map(() => manifest.model.decoderStartTokenId);
    for (let i = 0; i < FIRST_POSITION; i++) await decoder.step(sequences, tokens);
    const started = performance.now();
    for (let i = 0; i < STEPS; i++) {
      const output = await decoder.step(sequences, tokens);
      for (const row of tokens.keys()) output.argmax(row);
    }
    const seconds = (performance.now() - started) / 1000;
    for (const sequence of sequences) decoder.close(sequence);
    return { streaming: (streams * STEPS) / seconds };
  });
}

/** N requests at once over HTTP: prompt 128, 64 tokens, streamed. */
export async function measureStreamsInWorkerd(dir: string, work: string, rounds: number): Promise<StreamFigures> {
  return withWorkers(dir, join(work, "streams"), async (url, state) => {
    const { key } = await makeKey(url, state);
    return inTurns(rounds, async (streams) => {
      const started = performance.now();
      const times = await Promise.all(
        Array.from({ length: streams }, () => streamTimes(url, key, { promptTokens: PROMPT_TOKENS })),
      );
      const whole = (streams * NEW_TOKENS) / ((performance.now() - started) / 1000);
      const from = Math.max(...times.map((own) => own[0] ?? 0));
      const end = Math.min(...times.map((own) => own.at(-1) ?? 0));
      // A token whose text is not whole yet comes with the next one's event.
      const tokens = times.map(
        (own) => (own.filter((time) => time > from && time <= end).length * NEW_TOKENS) / own.length,
      );
      return { streaming: tokens.reduce((sum, each) => sum + each, 0) / ((end - from) / 1000), whole };
    });
  });
}

/** While the gateway, the encoder and the decoder serve the package `dir`. @param folder made for their state */
export async function withWorkers<T>(
  dir: string,
  folder: string,
  run: (url: string, state: string) => Promise<T>,
): Promise<T> {
  const manifest = await readManifest(new FolderStore(dir));
  await mkdir(folder);
  const { workers } = await writeWorkers(manifest, join(folder, "workers"), {
    root: ROOT,
    engine: "simd",
    oneWorker: false,
    readers: "none",
  });
  const state = join(folder, "state");
  await seedR2(dir, ROOT, state);
  await prepareGateway(workers, state);
  const port = await freePort();
  const stopping = new AbortController();
  const configs = workers.map(({ path }) => path).reverse();
  const child = await serve({
    ...{ root: ROOT, port, host: "127.0.0.1", configs, state },
    ...{ registry: join(folder, "registry"), signal: stopping.signal },
  });
  const ended = once(child, "exit");
  try {
    return await run(`http://127.0.0.1:${port}`, state);
  } finally {
    stopping.abort();
    await ended;
  }
}

export interface StreamRequest {
  promptTokens: number;
  /** Default: {@link NEW_TOKENS}. */
  newTokens?: number;
  /** Called as each event comes. */
  onEvent?: () => void;
  signal?: AbortSignal | null;
}

/** One request. @returns when each event came */
export async function streamTimes(
  url: string,
  key: string,
  { promptTokens, newTokens = NEW_TOKENS, onEvent, signal = null }: StreamRequest,
): Promise<number[]> {
  const body = { model: BENCH, prompt: promptOf(promptTokens), max_tokens: newTokens, stream: true };
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    signal,
    headers: { authorization: `Bearer ${key}` },
    // Random weights repeat themselves: drafts would make one stream faster than any text does.
    body: JSON.stringify({ ...body, prompt_lookup_num_tokens: 0, stream_options: { include_usage: true } }),
  });
  const times: number[] = [];
  let text = "";
  for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const now = performance.now();
    for (const _ of chunk.matchAll(/"finish_reason"/g)) {
      times.push(now);
      onEvent?.();
    }
  }
  const tokens = Number(/"completion_tokens":(\d+)/.exec(text)?.[1]);
  if (!response.ok || tokens !== newTokens) throw new Error(`${response.status}: ${text.slice(-300)}`);
  return times;
}

/** One round of warming up, then every count in each round. */
async function inTurns(rounds: number, run: (streams: number) => Promise<Rate>): Promise<StreamFigures> {
  const series = new Map<number, Rate[]>(COUNTS.map((streams) => [streams, []]));
  for (let round = -1; round < rounds; round++) {
    for (const streams of COUNTS) {
      const rate = await run(streams);
      if (round >= 0) series.get(streams)?.push(rate);
    }
  }
  const ones = series.get(1) ?? [];
  const byCount = (of: (rates: readonly Rate[]) => number) =>
    Object.fromEntries([...series].map(([streams, rates]) => [streams, of(rates)]));
  return {
    tokensPerSecond: byCount((rates) => median(rates.map(({ streaming }) => streaming))),
    wholeTokensPerSecond: byCount((rates) => median(rates.map(({ whole = 0 }) => whole))),
    gain: byCount((rates) =>
      median(rates.map(({ streaming }, round) => streaming / (ones[round]?.streaming ?? Number.NaN))),
    ),
  };
}

/** What `streams` streams can be at best, in tokens of one. @param read bytes, @param dot multiply-adds a second, both / 1e9 */
export function ceilingOf(streams: number, kernels: KernelName, read: number, dot: number): number {
  return Math.min(streams, Math.max(1, dot / (read * DIGITS[kernels])));
}

/** Figures by key, and the table. */
export function reportStreams(
  place: "node" | "workerd",
  { tokensPerSecond, wholeTokensPerSecond, gain }: StreamFigures,
  ceiling: (streams: number) => number,
): { figures: Record<string, number>; rows: string[][] } {
  const figures: Record<string, number> = {};
  const rows = COUNTS.map((streams) => {
    figures[`streams${streams}_tokens_per_s_${place}`] = tokensPerSecond[streams] ?? 0;
    const whole = wholeTokensPerSecond[streams] ?? 0;
    if (whole > 0) figures[`streams${streams}_whole_tokens_per_s_${place}`] = whole;
    if (streams > 1) {
      figures[`streams${streams}_ceiling_${place}`] = ceiling(streams);
      figures[`streams${streams}_of_ceiling_${place}`] = (gain[streams] ?? 0) / ceiling(streams);
    }
    return [
      place === "node" ? "engine, Node" : "HTTP, Workers",
      String(streams),
      (tokensPerSecond[streams] ?? 0).toFixed(0),
      (gain[streams] ?? 0).toFixed(2),
      streams > 1 ? ceiling(streams).toFixed(2) : "",
      streams > 1 ? ((gain[streams] ?? 0) / ceiling(streams)).toFixed(2) : "",
      whole > 0 ? whole.toFixed(0) : "",
    ];
  });
  return { figures, rows };
}

export function streamTable(rows: readonly string[][]): string {
  return formatTable(
    ["", "STREAMS", "TOKENS A SECOND", "÷ ONE", "CEILING", "OF CEILING", "WITH ENCODING, A SECOND"],
    rows,
  );
}
