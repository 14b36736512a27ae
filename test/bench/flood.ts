/**
 * Two tenants on one deployment, over HTTP through the Workers: a quiet one's latency while nobody else is there, and while
 * another has as many requests under way as it can, all the time; and what the other gets done beside it. No tenant has
 * limits here: what keeps the quiet one's latency is how the Workers share their time.
 */
import { join } from "node:path";
import { formatTable } from "../../src/cli/output.ts";
import { makeKey } from "../local-key.ts";
import { median } from "./measure.ts";
import { NEW_TOKENS, type StreamRequest, streamTimes, withWorkers } from "./streams.ts";

/** Clients that each send one request after the other: every second one long to encode, the others long to decode. */
const FLOOD_CLIENTS = 32;
const FLOOD_KINDS: readonly StreamRequest[] = [
  { promptTokens: 512, newTokens: 64 },
  { promptTokens: 128, newTokens: 256 },
];
const QUIET: StreamRequest = { promptTokens: 128, newTokens: NEW_TOKENS };
/** Each: quiet requests alone, the flood swells, as many beside it, the flood ends. */
const ROUNDS = 3;
const REQUESTS = 12;
/** Between the quiet tenant's requests. */
const PAUSE_MS = 100;
/** From the flood's first tokens on, until it is in full flow: requests at every stage. */
const SWELL_MS = 3_000;
/** Until the Workers have forgotten the flood: so long they keep their turns short for who may come back. */
const CALM_MS = 6_000;

/** Of one quiet request, in milliseconds. */
interface Latency {
  /** From the first byte sent to the first token. */
  first: number;
  /** To the last token. */
  whole: number;
}

export interface FloodFigures {
  /** The larger of the next two. */
  flood_over_quiet: number;
  /** A quiet request's latency beside the flood ÷ alone: medians over rounds of each round's ratio of medians. */
  flood_first_token_over_quiet: number;
  flood_whole_over_quiet: number;
  /** The 95th percentiles of all rounds' requests. */
  flood_first_token_p95_over_quiet: number;
  flood_whole_p95_over_quiet: number;
  /** Medians and 95th percentiles of all rounds' requests. */
  quiet_first_token_ms: number;
  quiet_first_token_p95_ms: number;
  quiet_whole_ms: number;
  quiet_whole_p95_ms: number;
  flooded_first_token_ms: number;
  flooded_first_token_p95_ms: number;
  flooded_whole_ms: number;
  flooded_whole_p95_ms: number;
  /** Tokens a second that the flooding tenant gets out, while alone and beside the quiet one. */
  flood_alone_tokens_per_s: number;
  flood_tokens_per_s: number;
  /** Requests of the flooding tenant that were refused. */
  flood_refused: number;
}

/** @param dir the package; @param work folder for state */
export async function measureFlood(dir: string, work: string): Promise<FloodFigures> {
  return withWorkers(dir, join(work, "flood"), async (url, state) => {
    const { key: quiet } = await makeKey(url, state, "quiet");
    const { key: loud } = await makeKey(url, state, "loud");
    await measureQuiet(url, quiet, 5);
    const alone: Latency[][] = [];
    const beside: Latency[][] = [];
    const rates = { alone: [] as number[], beside: [] as number[] };
    let refused = 0;
    for (let round = 0; round < ROUNDS; round++) {
      // The prompts that the last round's clients left behind are encoded still: this one waits for its turn after them.
      await measureQuiet(url, loud, 1);
      await delay(CALM_MS);
      alone.push(await measureQuiet(url, quiet, REQUESTS));
      const flood = new Flood(url, loud);
      while (flood.tokens === 0) await delay(PAUSE_MS);
      await delay(SWELL_MS);
      rates.alone.push(await flood.rateDuring(() => delay(SWELL_MS)));
      rates.beside.push(
        await flood.rateDuring(async () => {
          beside.push(await measureQuiet(url, quiet, REQUESTS));
        }),
      );
      refused += await flood.stop();
    }
    return figuresOf(alone, beside, rates, refused);
  });
}

function figuresOf(
  alone: readonly Latency[][],
  beside: readonly Latency[][],
  rates: { alone: number[]; beside: number[] },
  refused: number,
): FloodFigures {
  const of = (rounds: readonly Latency[][], what: keyof Latency, share: number) =>
    percentile(
      rounds.flat().map((each) => each[what]),
      share,
    );
  const paired = (what: keyof Latency) =>
    median(beside.map((round, i) => of([round], what, 0.5) / of([alone[i] ?? []], what, 0.5)));
  const [first, whole] = [paired("first"), paired("whole")];
  return {
    flood_over_quiet: Math.max(first, whole),
    flood_first_token_over_quiet: first,
    flood_whole_over_quiet: whole,
    flood_first_token_p95_over_quiet: of(beside, "first", 0.95) / of(alone, "first", 0.95),
    flood_whole_p95_over_quiet: of(beside, "whole", 0.95) / of(alone, "whole", 0.95),
    quiet_first_token_ms: of(alone, "first", 0.5),
    quiet_first_token_p95_ms: of(alone, "first", 0.95),
    quiet_whole_ms: of(alone, "whole", 0.5),
    quiet_whole_p95_ms: of(alone, "whole", 0.95),
    flooded_first_token_ms: of(beside, "first", 0.5),
    flooded_first_token_p95_ms: of(beside, "first", 0.95),
    flooded_whole_ms: of(beside, "whole", 0.5),
    flooded_whole_p95_ms: of(beside, "whole", 0.95),
    flood_alone_tokens_per_s: median(rates.alone),
    flood_tokens_per_s: median(rates.beside),
    flood_refused: refused,
  };
}

/** The smallest value that at least such a share of all reach at most. */
function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
}

/** One request after the other. */
async function measureQuiet(url: string, key: string, requests: number): Promise<Latency[]> {
  const latencies: Latency[] = [];
  for (let i = 0; i < requests; i++) {
    await delay(PAUSE_MS);
    const started = performance.now();
    const times = await streamTimes(url, key, QUIET);
    const [first = Number.NaN] = times;
    latencies.push({ first: first - started, whole: (times.at(-1) ?? Number.NaN) - started });
  }
  return latencies;
}

/** As many requests at once, each followed by another. */
class Flood {
  tokens = 0;
  #refused = 0;
  readonly #stopping = new AbortController();
  readonly #clients: Promise<void>[];

  constructor(url: string, key: string) {
    this.#clients = Array.from({ length: FLOOD_CLIENTS }, (_, client) => this.#run(url, key, client));
  }

  /** Tokens a second. */
  async rateDuring(run: () => Promise<unknown>): Promise<number> {
    const tokens = this.tokens;
    const started = performance.now();
    await run();
    return (this.tokens - tokens) / ((performance.now() - started) / 1000);
  }

  /** @returns requests that were refused, as they waited too long */
  async stop(): Promise<number> {
    this.#stopping.abort();
    await Promise.all(this.#clients);
    return this.#refused;
  }

  async #run(url: string, key: string, client: number): Promise<void> {
    const { signal } = this.#stopping;
    for (let request = client; !signal.aborted; request++) {
      const kind = FLOOD_KINDS[request % FLOOD_KINDS.length] ?? QUIET;
      try {
        await streamTimes(url, key, { ...kind, onEvent: () => this.tokens++, signal });
      } catch {
        if (!signal.aborted) this.#refused++;
      }
    }
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function floodTable(figures: FloodFigures): string {
  const row = (what: string, alone: number, beside: number, ratio = beside / alone) => [
    what,
    alone.toFixed(0),
    beside.toFixed(0),
    ratio.toFixed(2),
  ];
  const f = figures;
  return formatTable(
    ["TWO TENANTS", "ALONE", "BOTH", "BOTH ÷ ALONE"],
    [
      row("quiet: first token, ms", f.quiet_first_token_ms, f.flooded_first_token_ms, f.flood_first_token_over_quiet),
      row("  95th percentile", f.quiet_first_token_p95_ms, f.flooded_first_token_p95_ms),
      row("quiet: whole request, ms", f.quiet_whole_ms, f.flooded_whole_ms, f.flood_whole_over_quiet),
      row("  95th percentile", f.quiet_whole_p95_ms, f.flooded_whole_p95_ms),
      row("flooding, tokens a second", f.flood_alone_tokens_per_s, f.flood_tokens_per_s),
    ],
  );
}

if (import.meta.main) {
  const { mkdtemp, rm } = await import("node:fs/promises");
  const { tmpdir } = await import("node:os");
  const { makeBenchPackage } = await import("./package.ts");
  const work = await mkdtemp(join(tmpdir(), "edge-t5-flood-"));
  try {
    console.log(floodTable(await measureFlood(await makeBenchPackage(work), work)));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
