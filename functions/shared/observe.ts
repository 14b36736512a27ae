/** What every Worker does with every request: an id, a line in the log, a place in the metrics. */
import type { MiddlewareHandler } from "hono";
import { createMiddleware } from "hono/factory";
import { requestId } from "hono/request-id";
import { routePath } from "hono/route";
import { RequestLine } from "../../src/observability/log.ts";
import { DURATIONS, type Family, type Registry } from "../../src/observability/metrics.ts";

export const REQUEST_ID_HEADER = "x-request-id";

/** Letters, digits, `_`, `-`, `=`; who sends more, or something else, gets one that is made here. */
const LONGEST_REQUEST_ID = 128;

export interface ObservedEnv {
  Variables: {
    requestId: string;
    line: RequestLine;
  };
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** The request's id: a well-formed one of who asks, else a new one; the answer says it too. */
export const identify: MiddlewareHandler<ObservedEnv> = requestId({ limitLength: LONGEST_REQUEST_ID });

/** @param worker its name in the log */
export function observe(worker: string, metrics: Registry): MiddlewareHandler<ObservedEnv> {
  const requests = metrics.counter("edge_t5_requests_total", "Requests, by route pattern and status.", [
    "method",
    "route",
    "status",
  ]);
  const seconds = metrics.histogram(
    "edge_t5_request_duration_seconds",
    "From a request to the head of its answer: of a stream, to its first token. A Worker's clock stands still while it computes; what other Workers and storage take is counted.",
    ["method", "route"],
    DURATIONS,
  );
  let started: number | null = null;
  metrics.read("gauge", "edge_t5_isolate_start_time_seconds", "When this isolate's counting began, Unix time.", () =>
    started === null ? [] : [{ labels: {}, value: started / 1000 }],
  );
  return createMiddleware<ObservedEnv>(async (c, next) => {
    const line = new RequestLine(c.get("requestId"));
    started ??= line.began;
    c.set("line", line);
    await next();
    const method = METHODS.includes(c.req.method) ? c.req.method : "OTHER";
    const route = routeOf(c);
    const { status } = c.res;
    requests.add([method, route, String(status)]);
    seconds.observe([method, route], (Date.now() - line.began) / 1000);
    line.finish({ worker, method, route, status });
  });
}

/** Its pattern, never the path: what clients make up makes no label, and no line. */
function routeOf(c: Parameters<typeof routePath>[0]): string {
  for (let i = -1; ; i--) {
    const path = routePath(c, i);
    if (path === "") return "unmatched";
    if (!path.includes("*")) return path;
  }
}

/** The same Worker, called with this request's id. */
export function traced(worker: Fetcher, requestId: string): Fetcher {
  const fetch = (input: RequestInfo | URL, init?: RequestInit) => {
    const headers = new Headers(init?.headers);
    headers.set(REQUEST_ID_HEADER, requestId);
    return worker.fetch(input as RequestInfo, { ...init, headers });
  };
  return { fetch } as Fetcher;
}

/** A metric of the time that loads take, and how they end. */
export function countLoads(metrics: Registry) {
  const loads = metrics.counter(
    "edge_t5_model_loads_total",
    "Loads of a model: its weights in encoder and decoder, its tokenizer in the gateway.",
    ["result"],
  );
  const seconds = metrics.histogram(
    "edge_t5_model_load_seconds",
    "From the first byte that is asked of storage until a model can be used.",
    [],
    DURATIONS,
  );
  return async <T>(load: () => Promise<T>): Promise<T> => {
    const began = Date.now();
    let result = "failed";
    try {
      const loaded = await load();
      result = "loaded";
      seconds.observe([], (Date.now() - began) / 1000);
      return loaded;
    } finally {
      loads.add([result]);
    }
  };
}

/** A private Worker's `GET /metrics`, by Worker: its own, and those of the Worker before it in a chain. */
export interface MetricsAnswer {
  workers: Record<string, Family[]>;
}
