/**
 * Two tenants on one deployment, over HTTP through the Workers: a quiet one's latency while nobody else is there, and while
 * another has as many requests under way as it can, all the time; and what the other gets done with and without it.
 */
import { join } from "node:path";
import { formatTable } from "../../src/cli/output.ts";
import { makeKey } from "../local-key.ts";
import { median } from "./measure.ts";
import { NEW_TOKENS, streamTimes, withWorkers } from "./streams.ts";

const FLOOD = { requests: 32, promptTokens: 512 };
const QUIET = { requests: 24, promptTokens: 128 };
/** Between the quiet tenant's requests. */
const PAUSE_MS = 100;
/** Until the flood is in full flow: requests at every stage. */
const SWELL_MS = 4_000;
const ALONE_MS = 8_000;

export interface FloodFigures {
  /** The larger of the two ratios below. */
  flood_over_quiet: number;
  /** Medians of a quiet request's first token and of its time a token after that, beside the flood ÷ alone. */
  flood_first_token_over_quiet: number;
  flood_token_over_quiet: number;
  quiet_first_token_ms: number;
  quiet_token_ms: number;
  flooded_first_token_ms: number;
  flooded_token_ms: number;
  /** Tokens a second that the flooding tenant gets out, alone and beside the quiet one. */
  flood_alone_tokens_per_s: number;
  flood_tokens_per_s: number;
  /** Of the flooding tenant. */
  flood_refused: number;
}

/** @param dir the package; @param work folder for state */
export async function measureFlood(dir: string, work: string): Promise<FloodFigures> {
  return withWorkers(dir, join(work, "flood"), async (url, state) => {
    const { key: quiet } = await makeKey(url, state, "quiet");
    const { key: loud } = await makeKey(url, state, "loud");
    await measureQuiet(url, quiet, 3);
    await measureQuiet(url, loud, 1);
    const alone = await measureQuiet(url, quiet, QUIET.requests);
    const flood = new Flood(url, loud);
    await delay(SWELL_MS);
    const floodAlone = await flood.rateDuring(() => delay(ALONE_MS));
    let beside = alone;
    const rate = await flood.rateDuring(async () => {
      beside = await measureQuiet(url, quiet, QUIET.requests);
    });
    const refused = await flood.stop();
    const first = beside.firstMs / alone.firstMs;
    const token = beside.tokenMs / alone.tokenMs;
    return {
      flood_over_quiet: Math.max(first, token),
      flood_first_token_over_quiet: first,
      flood_token_over_quiet: token,
      quiet_first_token_ms: alone.firstMs,
      quiet_token_ms: alone.tokenMs,
      flooded_first_token_ms: beside.firstMs,
      flooded_token_ms: beside.tokenMs,
      flood_alone_tokens_per_s: floodAlone,
      flood_tokens_per_s: rate,
      flood_refused: refused,
    };
  });
}

/** One request after the other. @returns medians */
async function measureQuiet(url: string, key: string, requests: number): Promise<{ firstMs: number; tokenMs: number }> {
  const first: number[] = [];
  const token: number[] = [];
  for (let i = 0; i < requests; i++) {
    await delay(PAUSE_MS);
    const started = performance.now();
    const times = await streamTimes(url, key, QUIET.promptTokens);
    const [begun = Number.NaN] = times;
    first.push(begun - started);
    token.push(((times.at(-1) ?? Number.NaN) - begun) / (NEW_TOKENS - 1));
  }
  return { firstMs: median(first), tokenMs: median(token) };
}

/** As many requests at once, each followed by another. */
class Flood {
  #tokens = 0;
  #refused = 0;
  readonly #stopping = new AbortController();
  readonly #clients: Promise<void>[];

  constructor(url: string, key: string) {
    this.#clients = Array.from({ length: FLOOD.requests }, () => this.#run(url, key));
  }

  /** Tokens a second. */
  async rateDuring(run: () => Promise<unknown>): Promise<number> {
    const tokens = this.#tokens;
    const started = performance.now();
    await run();
    return (this.#tokens - tokens) / ((performance.now() - started) / 1000);
  }

  /** @returns requests that were refused, as they waited too long */
  async stop(): Promise<number> {
    this.#stopping.abort();
    await Promise.all(this.#clients);
    return this.#refused;
  }

  async #run(url: string, key: string): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await streamTimes(url, key, FLOOD.promptTokens, () => this.#tokens++, signal);
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
  const row = (what: string, alone: number, beside: number, digits: number) => [
    what,
    alone.toFixed(digits),
    beside.toFixed(digits),
    (beside / alone).toFixed(2),
  ];
  return formatTable(
    ["", "ALONE", "BOTH", "BOTH ÷ ALONE"],
    [
      row("quiet tenant: first token, ms", figures.quiet_first_token_ms, figures.flooded_first_token_ms, 1),
      row("quiet tenant: a token after that, ms", figures.quiet_token_ms, figures.flooded_token_ms, 2),
      row("flooding tenant, tokens a second", figures.flood_alone_tokens_per_s, figures.flood_tokens_per_s, 0),
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
