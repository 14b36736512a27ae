/** The readers' route: a file as the raw body in, its content out. */
import { type Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { errorBody } from "../../src/api/token-stream.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { Registry } from "../../src/observability/metrics.ts";
import { imageFormat } from "../../src/readers/image/size.ts";
import { DEFAULT_LIMITS, type ReadLimits, readContent } from "../../src/readers/index.ts";
import type { Content } from "../../src/t5/text-to-text/content.ts";
import { cappedBody } from "../shared/capped-body.ts";
import { errorOf } from "../shared/error-of.ts";
import { toEdgeT5Error } from "../shared/known-error.ts";
import { identify, type MetricsAnswer, type ObservedEnv, observe, traced } from "../shared/observe.ts";

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
  /** Reads images; without it they are refused. */
  OCR?: Fetcher;
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
  app.get("/metrics", async (c) => {
    const behind = c.env.OCR ? await metricsOf(c.env.OCR) : {};
    return c.json({ workers: { reader: metrics.snapshot(), ...behind } } satisfies MetricsAnswer);
  });
  app.get("/healthz", async (c) => {
    const ocr = await (await c.env.OCR?.fetch("http://ocr/healthz"))?.json<object>();
    return c.json({ status: "ok", ...(ocr && { ocr }) });
  });

  /**
   * Query `as`: `document` (default) or `table`; of images `languages`, and `image`: `text` (default) or `caption`. Answer:
   * a `Content`.
   */
  app.post("/read", async (c) => {
    const as = wanted(c.req.query("as"));
    const limits = limitsOf(c.env);
    const hints = { contentType: c.req.header("content-type"), filename: filenameOf(c.req.header(FILENAME_HEADER)) };
    const signal = AbortSignal.any([c.req.raw.signal, AbortSignal.timeout(c.env.MAX_READ_MS)]);
    let result = "failed";
    try {
      const bytes = await cappedBody(c.req.raw, limits);
      const isImage = as === "document" && imageFormat(bytes) !== null;
      const content = isImage ? await readImage(c, bytes) : await readContent(bytes, { ...hints, as, signal }, limits);
      result = "read";
      return c.json(content);
    } finally {
      files.add([result]);
    }
  });

  return app;
}

async function metricsOf(ocr: Fetcher): Promise<MetricsAnswer["workers"]> {
  try {
    const response = await ocr.fetch("http://ocr/metrics");
    if (response.ok) return (await response.json<MetricsAnswer>()).workers;
  } catch {
    // The gateway tells of one that does not answer.
  }
  return { ocr: [] };
}

/** In a Worker of its own: what reads images has room beside nothing else. */
async function readImage(c: Context<ReaderEnv>, bytes: Uint8Array<ArrayBuffer>): Promise<Content> {
  const { OCR } = c.env;
  if (!OCR) {
    throw new EdgeT5Error(
      "E_FORMAT",
      "The file is an image, and this deployment reads none: it has no OCR binding. Deploy with --readers all.",
    );
  }
  const isCaption = c.req.query("image") === "caption";
  const query = new URLSearchParams({ languages: c.req.query("languages") ?? "eng" });
  const response = await traced(OCR, c.get("requestId")).fetch(
    isCaption ? "http://ocr/caption" : `http://ocr/ocr?${query}`,
    {
      method: "POST",
      headers: { "content-type": c.req.header("content-type") ?? "application/octet-stream" },
      body: bytes,
      signal: c.req.raw.signal,
    },
  );
  if (!response.ok) throw await errorOf(response, "OCR Worker");
  return response.json<Content>();
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
