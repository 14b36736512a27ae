/** In Node: tesseract's WASM and trained data out of their packages. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { createOcr, type Ocr, type TrainedData } from "./ocr.ts";

/** Languages whose data is installed with the kit. */
export const LANGUAGES = ["eng", "deu", "fra"] as const;

const packages = createRequire(import.meta.url);

/** @param memoryBytes default: as at the edge */
export async function createNodeOcr(memoryBytes?: number): Promise<Ocr> {
  const wasm = await readFile(packages.resolve("tesseract.js-core/tesseract-core-simd-lstm.wasm"));
  const data: TrainedData = Object.fromEntries(LANGUAGES.map((language) => [language, () => readData(language)]));
  const module = await WebAssembly.compile(wasm);
  return createOcr({ wasm: module, data, ...(memoryBytes !== undefined && { memoryBytes }) });
}

async function readData(language: string): Promise<Uint8Array> {
  const file = `@tesseract.js-data/${language}/4.0.0_best_int/${language}.traineddata.gz`;
  return promisify(gunzip)(await readFile(packages.resolve(file)));
}
