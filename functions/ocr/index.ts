/**
 * The OCR Worker, private: the text in images, and what is seen in them where a binding says it. Its trained data is in
 * its bundle, gzipped: nothing to seed, one version with the code, and no memory for what is not asked for.
 */
import deu from "@tesseract.js-data/deu/4.0.0_best_int/deu.traineddata.gz";
import eng from "@tesseract.js-data/eng/4.0.0_best_int/eng.traineddata.gz";
import fra from "@tesseract.js-data/fra/4.0.0_best_int/fra.traineddata.gz";
import wasm from "tesseract.js-core/tesseract-core-simd-lstm.wasm";
import { createOcr } from "../../src/readers/image/ocr.ts";
import { ocrApp } from "./routes.ts";

async function gunzip(bytes: ArrayBuffer): Promise<Uint8Array> {
  const { body } = new Response(bytes);
  return new Uint8Array(await new Response(body?.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

export default ocrApp(
  createOcr({ wasm, data: { eng: () => gunzip(eng), deu: () => gunzip(deu), fra: () => gunzip(fra) } }),
);
