/** What a deployment will cost a month, from Cloudflare's public prices. */
import { blobsOf } from "../engines/load.ts";
import type { Role } from "../t5/engine.ts";
import type { Manifest } from "../t5/manifest.ts";

/** Dollars, and what the Workers Paid plan includes a month, as Cloudflare's documentation had them in this month. */
export const PRICES = {
  date: "2026-11",
  plan: 5,
  workerRequests: { perMillion: 0.3, included: 10e6 },
  cpuMs: { perMillion: 0.02, included: 30e6 },
  queueOperations: { perMillion: 0.4, included: 1e6 },
  d1RowsRead: { perMillion: 0.001, included: 25e9 },
  d1RowsWritten: { perMillion: 1, included: 50e6 },
  d1Gigabytes: { each: 0.75, included: 5 },
  objectRequests: { perMillion: 0.15, included: 1e6 },
  objectGigabyteSeconds: { perMillion: 12.5, included: 400e3 },
  r2Gigabytes: { each: 0.015, included: 10 },
  r2Reads: { perMillion: 0.36, included: 10e6 },
} as const;

export interface CostInputs {
  /** Completions a month. */
  requests: number;
  /** Of a request, on average. */
  promptTokens: number;
  newTokens: number;
  /** CPU milliseconds of a request, all Workers together; estimated from the model's size when it is not given. */
  cpuMs?: number | undefined;
}

export interface CostLine {
  what: string;
  /** How much of it, in `unit`. */
  amount: number;
  unit: string;
  dollars: number;
}

export interface CostEstimate {
  /** The prices' day. */
  prices: string;
  lines: CostLine[];
  dollars: number;
  /** What the figures take for granted. */
  assumptions: string[];
}

/** Of T5-small at int8 in workerd, as `npm run bench` measured it on a 2-core EPYC. */
const MEASURED = { encodeMs: 44.4, promptTokens: 128, encoderBytes: 18.9e6, tokenMs: 2.05, decoderBytes: 41.6e6 };
/** Of the gateway, a request: tokenizer, key, limits, usage. */
const GATEWAY_MS = 3;
/** A message is written, read and deleted. */
const OPERATIONS_A_MESSAGE = 3;
const ROWS_WRITTEN = 4;
const ROWS_READ = 10;
const LEDGER_BYTES = 400;
/** To take from and to give back to a tenant's counters, each in some milliseconds of 128 MB. */
const OBJECT_CALLS = 2;
const OBJECT_SECONDS = 0.01;
const OBJECT_GIGABYTES = 0.128;
/** Isolates are started anew so often. */
const REQUESTS_A_LOAD = 200;

export function estimateCost(manifest: Manifest, inputs: CostInputs): CostEstimate {
  const { requests } = inputs;
  const cpuMs = inputs.cpuMs ?? estimateCpuMs(manifest, inputs);
  const blobs = Object.values(manifest.blobs);
  const gigabytes = blobs.reduce((sum, { bytes }) => sum + bytes, 0) / 1e9;
  const million = (what: string, unit: string, amount: number, { perMillion, included }: Rate): CostLine => {
    return { what, amount, unit, dollars: (Math.max(0, amount - included) / 1e6) * perMillion };
  };
  const stored = (what: string, amount: number, { each, included }: { each: number; included: number }): CostLine => {
    return { what, amount, unit: "GB", dollars: Math.max(0, amount - included) * each };
  };
  const lines: CostLine[] = [
    { what: "Workers Paid plan", amount: 1, unit: "month", dollars: PRICES.plan },
    million("Workers: requests", "requests", requests, PRICES.workerRequests),
    million("Workers: CPU time", "ms", requests * cpuMs, PRICES.cpuMs),
    million("Queues: usage events", "operations", requests * OPERATIONS_A_MESSAGE, PRICES.queueOperations),
    million("D1: rows written", "rows", requests * ROWS_WRITTEN, PRICES.d1RowsWritten),
    million("D1: rows read", "rows", requests * ROWS_READ, PRICES.d1RowsRead),
    stored("D1: the ledger's growth", (requests * LEDGER_BYTES) / 1e9, PRICES.d1Gigabytes),
    million("Durable Objects: requests", "requests", requests * OBJECT_CALLS, PRICES.objectRequests),
    million(
      "Durable Objects: duration",
      "GB-s",
      requests * OBJECT_CALLS * OBJECT_SECONDS * OBJECT_GIGABYTES,
      PRICES.objectGigabyteSeconds,
    ),
    million("R2: reads", "reads", (requests / REQUESTS_A_LOAD) * (blobs.length + 3), PRICES.r2Reads),
    stored("R2: the package", gigabytes, PRICES.r2Gigabytes),
  ];
  return {
    prices: PRICES.date,
    lines,
    dollars: lines.reduce((sum, { dollars }) => sum + dollars, 0),
    assumptions: [
      `${requests} requests a month of ${inputs.promptTokens} prompt tokens and ${inputs.newTokens} new ones (--requests, --prompt-tokens, --new-tokens)`,
      inputs.cpuMs === undefined
        ? `${cpuMs.toFixed(1)} ms of CPU a request: T5-small's measured time, scaled by this model's size; measure yours and give --cpu-ms`
        : `${cpuMs} ms of CPU a request, as given`,
      `one usage event, ${ROWS_WRITTEN} rows written, ${ROWS_READ} read and ${LEDGER_BYTES} bytes of ledger a request; ${OBJECT_CALLS} calls of a tenant's counter, ${OBJECT_SECONDS * 1000} ms each`,
      `isolates load the model once in ${REQUESTS_A_LOAD} requests`,
      "service bindings, rate limits and R2's egress are free; nothing else uses the plan's included amounts; taxes are not in it",
    ],
  };
}

interface Rate {
  perMillion: number;
  included: number;
}

function estimateCpuMs(manifest: Manifest, { promptTokens, newTokens }: CostInputs): number {
  const encode = (MEASURED.encodeMs * bytesOf(manifest, "encoder", false)) / MEASURED.encoderBytes;
  const token = (MEASURED.tokenMs * bytesOf(manifest, "decoder", true)) / MEASURED.decoderBytes;
  return GATEWAY_MS + encode * (promptTokens / MEASURED.promptTokens) + token * newTokens;
}

/** Of a stack's weights; a decoder's steps read the embedding too, as the head. */
function bytesOf(manifest: Manifest, role: Role, withEmbedding: boolean): number {
  return blobsOf(manifest, [role]).reduce((sum, hash) => {
    const blob = manifest.blobs[hash];
    return sum + (blob && (withEmbedding || blob.role !== "embedding") ? blob.bytes : 0);
  }, 0);
}
