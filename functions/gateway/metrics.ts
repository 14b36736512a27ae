/** What the gateway counts, and `GET /metrics`: its own and its private Workers' metrics, for Prometheus. */
import type { Context } from "hono";
import {
  DURATIONS,
  type Family,
  Registry,
  renderMetrics,
  type WorkerMetrics,
} from "../../src/observability/metrics.ts";
import { adapterCache } from "../../src/tenancy/adapters.ts";
import { keyCache } from "../../src/tenancy/authenticate.ts";
import { taskCache } from "../../src/tenancy/tasks.ts";
import { countLoads, type MetricsAnswer } from "../shared/observe.ts";
import type { GatewayEnv } from "./bindings.ts";

export const metrics = new Registry();

export const countLoad = countLoads(metrics);

export const tokens = metrics.counter("edge_t5_tokens_total", "Tokens that were billed, by direction.", [
  "direction",
  "served_by",
]);

export const generations = metrics.counter(
  "edge_t5_generations_total",
  "Requests of a model or task, by how they ended.",
  ["outcome", "served_by"],
);

export const generationSeconds = metrics.histogram(
  "edge_t5_generation_duration_seconds",
  "From a request's reservation to the end of its answer, of a stream to its last token.",
  ["outcome"],
  DURATIONS,
);

export const originCalls = metrics.counter(
  "edge_t5_origin_calls_total",
  "Requests that were for the origin: answered, refused in its own words, unreached (absent, or silent too long), lost in the middle, or not sent as it rests (breaker).",
  ["result"],
);

/** A minute and more is a queue that stands still. */
const LAGS: readonly number[] = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200];

export const queueLag = metrics.histogram(
  "edge_t5_usage_queue_lag_seconds",
  "From a usage event's sending to the consumer's taking it, each delivery anew.",
  ["queue"],
  LAGS,
);

export const queueMessages = metrics.counter(
  "edge_t5_usage_messages_total",
  "Messages of usage that were taken, by what became of them: written into the ledger, kept as dead letters, to come again.",
  ["result"],
);

const answers = { hit: 0, miss: 0 };

export function countAnswer(result: "hit" | "miss"): void {
  answers[result]++;
}

metrics.read("counter", "edge_t5_cache_requests_total", "What was asked of a cache, and whether it was there.", () =>
  Object.entries({ keys: keyCache, tasks: taskCache, adapter_rows: adapterCache })
    .map(([cache, { hits, misses }]) => ({ cache, hit: hits, miss: misses }))
    .concat({ cache: "answers", ...answers })
    .flatMap(({ cache, hit, miss }) => [
      { labels: { cache, result: "hit" }, value: hit },
      { labels: { cache, result: "miss" }, value: miss },
    ]),
);

/**
 * Prometheus's text format. A Worker that does not answer is told by `edge_t5_worker_up` 0.
 *
 * @param more families of the gateway's
 */
export async function showMetrics(c: Context<GatewayEnv>, more: readonly Family[]): Promise<Response> {
  const { ENCODER, DECODER, READER } = c.env;
  const asked = [ask("encoder", ENCODER), ask("decoder", DECODER), ...(READER ? [ask("reader", READER)] : [])];
  const others = await Promise.all(asked);
  // Both bindings may lead to one Worker: its metrics are told once.
  const workers: WorkerMetrics = Object.assign({ gateway: [...metrics.snapshot(), ...more] }, ...others.toReversed());
  const up = (value: number): Family => ({
    ...{ name: "edge_t5_worker_up", help: "Whether the Worker answered when it was asked for its metrics." },
    ...{ type: "gauge", samples: [{ labels: {}, value }] },
  });
  const told = Object.entries(workers).map(([worker, families]) => [
    worker,
    [up(families.length > 0 ? 1 : 0), ...families],
  ]);
  return c.body(renderMetrics(Object.fromEntries(told)), 200, {
    "content-type": "text/plain; version=0.0.4; charset=utf-8",
    "cache-control": "no-store",
  });
}

async function ask(name: string, worker: Fetcher): Promise<WorkerMetrics> {
  try {
    const response = await worker.fetch(`http://${name}/metrics`);
    if (response.ok) return (await response.json<MetricsAnswer>()).workers;
  } catch {
    // Told below.
  }
  return { [name]: [] };
}
