/**
 * `npm run bench:ocr [-- --json] [--kept FILE]`: how well the text of images is read, and what it costs. Pages are rendered from known
 * text (test/fixtures/image) in English, German and French: ten lines of 11 points at 200 dpi in a serif, but for what a
 * row names. Character error rate: edits ÷ characters, as characterErrorRate counts them; median and worst of its pages. Seconds
 * are of a page's reading in Node, after the first. It takes minutes: `--kept` names a file that each figure goes to at once, a
 * line each; what stands in it is not measured again.
 *
 * Memory: the peak of tesseract's WASM memory over one dense page of A4 in a fresh instance, with the bound that it has at the
 * edge. PNG is decoded outside of it, and JPEG that does not fit; the others inside.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
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
  { name: "noise: 60 of 255", style: { noise: 60 } },
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

/** Figures by name, in a file too where one is named. */
export class Kept {
  readonly #figures = new Map<string, unknown>();
  readonly #file: string | undefined;

  constructor(file?: string) {
    this.#file = file;
    if (file === undefined || !existsSync(file)) return;
    for (const line of readFileSync(file, "utf8").split("\n").filter(Boolean)) {
      const [name, figure] = JSON.parse(line) as [string, unknown];
      this.#figures.set(name, figure);
    }
  }

  has(name: string): boolean {
    return this.#figures.has(name);
  }

  /** What was measured under this name, or what is measured now. */
  async of<T>(name: string, measure: () => Promise<T>): Promise<T> {
    if (!this.#figures.has(name)) {
      const figure = await measure();
      this.#figures.set(name, figure);
      if (this.#file !== undefined) appendFileSync(this.#file, `${JSON.stringify([name, figure])}\n`);
    }
    return this.#figures.get(name) as T;
  }
}

interface PageFigures {
  rate: number;
  seconds: number;
}

export async function measureLevels(kept = new Kept(), levels = LEVELS): Promise<LevelFigures[]> {
  const ocr = await createNodeOcr();
  const pages = new Map<string, PageFigures[]>(levels.map(({ name }) => [name, []]));
  for (const language of LANGUAGES) {
    const isNew = levels.some(({ name }) => !kept.has(`${name}, ${language}`));
    // The first page of a language loads its data.
    if (isNew) await ocr.recognize(pngOf(renderPage({ language, lines: 1 }).image), { languages: [language] });
    for (const [i, level] of levels.entries()) {
      const figures = await kept.of(`${level.name}, ${language}`, () =>
        measurePage(ocr, level, language, (i * 3) % 40),
      );
      pages.get(level.name)?.push(figures);
    }
  }
  return [...pages].map(([level, figures]) => ({
    level,
    character_error_rate: median(figures.map(({ rate }) => rate)),
    worst_character_error_rate: Math.max(...figures.map(({ rate }) => rate)),
    seconds_per_page: median(figures.map(({ seconds }) => seconds)),
  }));
}

async function measurePage(
  ocr: Ocr,
  { style, jpegQuality }: Level,
  language: Language,
  from: number,
): Promise<PageFigures> {
  const { image, text } = renderPage({ language, from, ...style });
  const bytes = jpegQuality === undefined ? pngOf(image) : jpegOf(image, jpegQuality);
  const read = await readTimed(ocr, bytes, [language]);
  return { rate: characterErrorRate(text, read.text), seconds: read.seconds };
}

export async function measureMemory(kept = new Kept()): Promise<MemoryFigures[]> {
  const figures: MemoryFigures[] = [];
  for (const page of MEMORY_PAGES) {
    const name = `${page.dpi} dpi, ${page.format}`;
    figures.push(await kept.of(name, () => measureMemoryOf(name, page)));
  }
  return figures;
}

async function measureMemoryOf(name: string, { dpi, format }: (typeof MEMORY_PAGES)[number]): Promise<MemoryFigures> {
  const { image } = renderPage({ dpi, ...A4 });
  const ocr = await createNodeOcr();
  const { seconds } = await readTimed(ocr, ENCODERS[format](image), ["eng"]);
  const megapixels = (image.width * image.height) / 1e6;
  return { page: name, megapixels, peak_wasm_mb: ocr.bytes / 1e6, seconds };
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
    options: {
      json: { type: "boolean" },
      kept: { type: "string" },
      "skip-levels": { type: "boolean" },
      "skip-memory": { type: "boolean" },
    },
  });
  const kept = new Kept(values.kept);
  const levels = values["skip-levels"] ? [] : await measureLevels(kept);
  const memory = values["skip-memory"] ? [] : await measureMemory(kept);
  if (values.json) console.log(JSON.stringify({ levels, memory }));
  else
    console.log(
      [levels.length > 0 && levelTable(levels), memory.length > 0 && memoryTable(memory)].filter(Boolean).join("\n\n"),
    );
}
