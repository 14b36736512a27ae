/**
 * `npm run bench:ocr [-- --json]`: how well the text of images is read, and what it costs. Pages are rendered from known
 * text (test/fixtures/image) in English, German and French: ten lines of 11 points at 200 dpi in a serif, but for what a
 * row names. Character error rate: edits ÷ characters, as characterErrorRate counts them; median and worst of its pages. Seconds
 * are of a page's reading in Node, after the first.
 *
 * Memory: the peak of tesseract's WASM memory over one dense page of A4 in a fresh instance, with the bound that it has at the
 * edge. PNG is decoded outside of it, and JPEG that does not fit; the others inside.
 */
import { parseArgs } from "node:util";
import { formatTable } from "../../src/cli/output.ts";
import { createNodeOcr } from "../../src/readers/image/node.ts";
import type { Ocr } from "../../src/readers/image/ocr.ts";
import {
  characterErrorRate,
  jpegOf,
  type Language,
  type PageStyle,
  pngOf,
  renderPage,
  webpOf,
} from "../readers/image-pages.ts";
import { median } from "./measure.ts";

interface Level {
  readonly name: string;
  readonly style: Partial<PageStyle>;
  /** Instead of PNG. */
  readonly jpegQuality?: number;
}

export const LEVELS: readonly Level[] = [
  { name: "clean", style: {} },
  { name: "font: sans", style: { font: "sans" } },
  { name: "font: monospace", style: { font: "monospace" } },
  { name: "font: old style", style: { font: "old style" } },
  { name: "size: 8 points", style: { points: 8 } },
  { name: "size: 16 points", style: { points: 16 } },
  { name: "resolution: 75 dpi", style: { dpi: 75 } },
  { name: "resolution: 100 dpi", style: { dpi: 100 } },
  { name: "resolution: 150 dpi", style: { dpi: 150 } },
  { name: "resolution: 300 dpi", style: { dpi: 300 } },
  { name: "skew: 0.5°", style: { skew: 0.5 } },
  { name: "skew: 1°", style: { skew: 1 } },
  { name: "skew: 2°", style: { skew: -2 } },
  { name: "turned: 90°", style: { turn: 90 } },
  { name: "turned: 180°", style: { turn: 180 } },
  { name: "turned: 270°", style: { turn: 270 } },
  { name: "noise: 20 of 255", style: { noise: 20 } },
  { name: "noise: 40 of 255", style: { noise: 40 } },
  { name: "noise: 80 of 255", style: { noise: 80 } },
  { name: "JPEG of quality 30", style: {}, jpegQuality: 30 },
  { name: "JPEG of quality 10", style: {}, jpegQuality: 10 },
];

const LANGUAGES: readonly Language[] = ["eng", "deu", "fra"];

/** 8.27 × 11.7 inches, full of text. */
const A4: Partial<PageStyle> = { width: 8.27, lines: 52 };

const ENCODERS = { "grey PNG": pngOf, "colour JPEG": jpegOf, "colour WebP": webpOf } as const;

/** The last one has as many pixels as a telephone's camera. */
const MEMORY_PAGES: readonly { dpi: number; format: keyof typeof ENCODERS }[] = [
  { dpi: 150, format: "grey PNG" },
  { dpi: 200, format: "grey PNG" },
  { dpi: 300, format: "grey PNG" },
  { dpi: 200, format: "colour JPEG" },
  { dpi: 300, format: "colour JPEG" },
  { dpi: 300, format: "colour WebP" },
  { dpi: 350, format: "colour JPEG" },
];

export interface LevelFigures {
  level: string;
  character_error_rate: number;
  worst_character_error_rate: number;
  seconds_per_page: number;
}

export interface MemoryFigures {
  page: string;
  megapixels: number;
  peak_wasm_mb: number;
  seconds: number;
}

async function readTimed(ocr: Ocr, bytes: Uint8Array, languages: readonly string[]) {
  const began = performance.now();
  const [page] = await ocr.recognize(bytes, { languages });
  return { text: page?.text ?? "", seconds: (performance.now() - began) / 1000 };
}

export async function measureLevels(levels = LEVELS): Promise<LevelFigures[]> {
  const ocr = await createNodeOcr();
  const rates = new Map<string, { rates: number[]; seconds: number[] }>(
    levels.map(({ name }) => [name, { rates: [], seconds: [] }]),
  );
  for (const language of LANGUAGES) {
    const first = renderPage({ language, lines: 1 });
    await ocr.recognize(pngOf(first.image), { languages: [language] });
    for (const [i, { name, style, jpegQuality }] of levels.entries()) {
      const { image, text } = renderPage({ language, from: (i * 3) % 40, ...style });
      const bytes = jpegQuality === undefined ? pngOf(image) : jpegOf(image, jpegQuality);
      const read = await readTimed(ocr, bytes, [language]);
      rates.get(name)?.rates.push(characterErrorRate(text, read.text));
      rates.get(name)?.seconds.push(read.seconds);
    }
  }
  return [...rates].map(([level, { rates, seconds }]) => ({
    level,
    character_error_rate: median(rates),
    worst_character_error_rate: Math.max(...rates),
    seconds_per_page: median(seconds),
  }));
}

export async function measureMemory(): Promise<MemoryFigures[]> {
  const figures: MemoryFigures[] = [];
  for (const { dpi, format } of MEMORY_PAGES) {
    const { image } = renderPage({ dpi, ...A4 });
    const ocr = await createNodeOcr();
    const { seconds } = await readTimed(ocr, ENCODERS[format](image), ["eng"]);
    const megapixels = (image.width * image.height) / 1e6;
    figures.push({ page: `${dpi} dpi, ${format}`, megapixels, peak_wasm_mb: ocr.bytes / 1e6, seconds });
  }
  return figures;
}

export function levelTable(figures: readonly LevelFigures[]): string {
  const percent = (rate: number) => (rate * 100).toFixed(2).padStart(8);
  const rows = figures.map((each) => [
    each.level,
    percent(each.character_error_rate),
    percent(each.worst_character_error_rate),
    each.seconds_per_page.toFixed(1).padStart(8),
  ]);
  return formatTable(["PAGES", "ERRORS, %", "WORST, %", "SECONDS"], rows);
}

export function memoryTable(figures: readonly MemoryFigures[]): string {
  const rows = figures.map(({ page, megapixels, peak_wasm_mb, seconds }) => [
    page,
    megapixels.toFixed(1).padStart(10),
    peak_wasm_mb.toFixed(0).padStart(8),
    seconds.toFixed(1).padStart(8),
  ]);
  return formatTable(["PAGE", "MEGAPIXELS", "WASM, MB", "SECONDS"], rows);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { json: { type: "boolean" }, "skip-levels": { type: "boolean" }, "skip-memory": { type: "boolean" } },
  });
  const levels = values["skip-levels"] ? [] : await measureLevels();
  const memory = values["skip-memory"] ? [] : await measureMemory();
  if (values.json) console.log(JSON.stringify({ levels, memory }));
  else
    console.log(
      [levels.length > 0 && levelTable(levels), memory.length > 0 && memoryTable(memory)].filter(Boolean).join("\n\n"),
    );
}
