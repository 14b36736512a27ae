/** The OCR Worker's routes: an image as a raw body in, what a reader made of it out. */
import { type Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { errorBody } from "../../src/api/token-stream.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { Registry } from "../../src/observability/metrics.ts";
import { type AiBinding, caption, workersAiCaptioner } from "../../src/readers/image/caption.ts";
import { contentOfPages, type Ocr } from "../../src/readers/image/ocr.ts";
import { imageFormat } from "../../src/readers/image/size.ts";
import { DEFAULT_LIMITS, type ReadLimits } from "../../src/readers/limits.ts";
import { cappedBody } from "../shared/capped-body.ts";
import { toEdgeT5Error } from "../shared/known-error.ts";
import { identify, type MetricsAnswer, type ObservedEnv, observe } from "../shared/observe.ts";
import { Turn } from "./turn.ts";

export interface OcrBindings {
  /** Of one image: bytes as it comes, pages, and pixels a page. */
  MAX_BYTES: number;
  MAX_PAGES: number;
  MAX_PIXELS: number;
  /** Workers AI, where captions are switched on. */
  AI?: AiBinding;
}

interface OcrEnv extends ObservedEnv {
  Bindings: OcrBindings;
}

export function ocrApp(ocr: Ocr): Hono<OcrEnv> {
  const metrics = new Registry();
  const pages = metrics.counter("edge_t5_ocr_pages_total", "Pages of images that were read.", []);
  metrics.read("gauge", "edge_t5_wasm_bytes", "WASM memory that the reader holds.", () => [
    { labels: {}, value: ocr.bytes },
  ]);
  const turn = new Turn();
  const app = new Hono<OcrEnv>();
  app.use(identify, observe("ocr", metrics));
  app.onError((error, c) => {
    const known = toEdgeT5Error(error, c.get("requestId"));
    c.get("line").add({ code: known.code });
    return c.json(errorBody(known), known.status as ContentfulStatusCode);
  });
  app.get("/metrics", (c) => c.json({ workers: { ocr: metrics.snapshot() } } satisfies MetricsAnswer));
  app.get("/healthz", (c) => c.json({ wasm_bytes: ocr.bytes, captions: c.env.AI !== undefined }));

  /** Query `languages`: likeliest first, "eng,deu"; default "eng". Answer: its text as a document (`Content`). */
  app.post("/ocr", async (c) => {
    const languages = (c.req.query("languages") ?? "eng").split(",").map((language) => language.trim());
    const { signal } = c.req.raw;
    const inTurn = async () => {
      const endTurn = await turn.take(signal);
      try {
        const { bytes, limits } = await inTime(readImage(c));
        return await ocr.recognize(bytes, { languages, limits, signal });
      } finally {
        endTurn();
      }
    };
    const reading = inTurn();
    // Goes on when who asked has left, to where it sees that: else what is to end the turn would never run.
    c.executionCtx.waitUntil(reading.catch(() => {}));
    const read = await reading;
    pages.add([], read.length);
    return c.json(contentOfPages(read, languages));
  });

  /** Answer: what is seen, as a document (`Content`). */
  app.post("/caption", async (c) => {
    const captioner = c.env.AI ? workersAiCaptioner(c.env.AI) : null;
    const { bytes, limits } = await readImage(c);
    return c.json(await caption(bytes, captioner, { limits, signal: c.req.raw.signal }));
  });

  return app;
}

/** Longest that an image may take to come, which others wait for: the reader has all of it before it sends it. */
const BODY_MS = 5000;

async function inTime<T>(work: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const message = `The image did not come within ${BODY_MS / 1000} seconds. Send it again.`;
  const timer = setTimeout(() => reject(new EdgeT5Error("E_INPUT", message)), BODY_MS);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function readImage(c: Context<OcrEnv>): Promise<{ bytes: Uint8Array; limits: ReadLimits }> {
  const { MAX_BYTES: maxBytes, MAX_PAGES: maxPages, MAX_PIXELS: maxPixels } = c.env;
  const limits = { ...DEFAULT_LIMITS, maxBytes, maxPages, maxPixels };
  const bytes = await cappedBody(c.req.raw, limits);
  checkType(c.req.header("content-type"), bytes);
  return { bytes, limits };
}

/** Who names a type of image must mean it; who names none, or bytes, leaves it to the first of them. */
function checkType(header: string | undefined, bytes: Uint8Array): void {
  const [, named] = /^image\/(?:x-)?([a-z+.-]+)/i.exec(header ?? "") ?? [];
  const format = imageFormat(bytes);
  if (named === undefined || format === null) return;
  const expected = named.toLowerCase() === "jpg" ? "jpeg" : named.toLowerCase();
  if (expected === format) return;
  throw new EdgeT5Error(
    "E_FORMAT",
    `The content type says image/${named}, but the file is ${format.toUpperCase()}. Send it as image/${format}.`,
  );
}
