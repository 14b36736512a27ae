/** The readers' route: a file as the raw body in, its content out. */
import { Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { errorBody } from "../../src/api/token-stream.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { Registry } from "../../src/observability/metrics.ts";
import { DEFAULT_LIMITS, type ReadLimits, readContent } from "../../src/readers/index.ts";
import { cappedBody } from "../shared/capped-body.ts";
import { toEdgeT5Error } from "../shared/known-error.ts";
import { identify, type MetricsAnswer, type ObservedEnv, observe } from "../shared/observe.ts";

/** Of a file, its name as the client has it, as `encodeURIComponent` writes it. */
export const FILENAME_HEADER = "x-edge-t5-filename";

export interface ReaderBindings {
  /** Of one file: see src/readers/limits.ts. */
  MAX_BYTES: number;
  MAX_INFLATED_BYTES: number;
  MAX_PAGES: number;
  MAX_CHARACTERS: number;
  MAX_CELLS: number;
  /** How long a file may be read for. A Worker's clock stands still while it computes: cpu_ms in wrangler.toml is its other bound. */
  MAX_READ_MS: number;
}

interface ReaderEnv extends ObservedEnv {
  Bindings: ReaderBindings;
}

export function readerApp(): Hono<ReaderEnv> {
  const metrics = new Registry();
  const files = metrics.counter("edge_t5_files_read_total", "Files that were read, by how it ended.", ["result"]);
  const app = new Hono<ReaderEnv>();
  app.use(identify, observe("reader", metrics));
  app.onError((error, c) => {
    const known = toEdgeT5Error(error, c.get("requestId"));
    c.get("line").add({ code: known.code });
    return c.json(errorBody(known), known.status as ContentfulStatusCode);
  });
  app.get("/metrics", (c) => c.json({ workers: { reader: metrics.snapshot() } } satisfies MetricsAnswer));
  app.get("/healthz", (c) => c.json({ status: "ok" }));

  /** Query `as`: `document` (default) or `table`. Answer: a `Content`. */
  app.post("/read", async (c) => {
    const as = wanted(c.req.query("as"));
    const limits = limitsOf(c.env);
    const hints = { contentType: c.req.header("content-type"), filename: filenameOf(c.req.header(FILENAME_HEADER)) };
    const signal = AbortSignal.any([c.req.raw.signal, AbortSignal.timeout(c.env.MAX_READ_MS)]);
    let result = "failed";
    try {
      const content = await readContent(await cappedBody(c.req.raw, limits), { ...hints, as, signal }, limits);
      result = "read";
      return c.json(content);
    } finally {
      files.add([result]);
    }
  });

  return app;
}

function wanted(as = "document"): "document" | "table" {
  if (as === "document" || as === "table") return as;
  throw new EdgeT5Error("E_INPUT", `as is ${JSON.stringify(as.slice(0, 40))}. Say document or table.`);
}

function filenameOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  try {
    return decodeURIComponent(header);
  } catch {
    throw new EdgeT5Error("E_INPUT", `${FILENAME_HEADER} is not URI-encoded. Send encodeURIComponent(name).`);
  }
}

function limitsOf(env: ReaderBindings): ReadLimits {
  return {
    ...DEFAULT_LIMITS,
    maxBytes: env.MAX_BYTES,
    maxInflatedBytes: env.MAX_INFLATED_BYTES,
    maxPages: env.MAX_PAGES,
    maxCharacters: env.MAX_CHARACTERS,
    maxCells: env.MAX_CELLS,
  };
}
