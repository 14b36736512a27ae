/**
 * The kit beside `@huggingface/transformers` on an export of the same checkpoint: T5-small's shape at int8, one thread, a
 * prompt of 128 tokens and 64 new ones, in Node (its onnxruntime-node) and in Chromium (its onnxruntime-web, on WASM).
 *
 * `npm run bench:transformers-js [-- --json] [--rounds N] [--skip-chromium]`
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { build } from "esbuild";
import { chromium, type Page } from "playwright-core";
import { exportForTransformersJs, splitCheckpoint } from "../../model-split/index.ts";
import { formatTable } from "../../src/cli/output.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { loadTokenizer } from "../../src/t5/tokenizer.ts";
import { serve } from "../serve.ts";
import { writeRandomCheckpoint } from "./checkpoint.ts";
import { compareGeneration, GENERATION, LIBRARIES, NEW_TOKENS, PROMPT_TOKENS } from "./generation.ts";
import { type PeerFigures, suffixed } from "./peers.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SPIECE = join(ROOT, "test/fixtures/t5-tokenizer/spiece.model");
const TRANSFORMERS = join(ROOT, "node_modules/@huggingface/transformers");
/** Debian's. */
export const CHROMIUM = "/usr/bin/chromium";

export interface Places {
  package: string;
  /** Holds the exports, by the names of {@link LIBRARIES}. */
  models: string;
  prompt: string;
}

/** A package of random weights with T5's tokenizer, its exports, and a prompt, in `work`. */
export async function prepareGeneration(work: string): Promise<Places> {
  const checkpoint = join(work, "checkpoint");
  await writeRandomCheckpoint(checkpoint);
  await copyFile(SPIECE, join(checkpoint, "spiece.model"));
  const dir = join(work, "package");
  await splitCheckpoint(checkpoint, dir, { name: "bench" });
  const store = new FolderStore(dir);
  const models = join(work, "models");
  await exportForTransformersJs(store, join(models, "transformersjs"), { activations: "matrix" });
  await exportForTransformersJs(store, join(models, "transformersjs_row"));
  const tokenizer = await loadTokenizer(await readManifest(store), store);
  let prompt = "summarize:";
  while (tokenizer.encode(`${prompt} word`).length <= PROMPT_TOKENS) prompt += " word";
  if (tokenizer.encode(prompt).length !== PROMPT_TOKENS) throw new Error("The prompt is not of 128 tokens.");
  return { package: dir, models, prompt };
}

/** In a process of its own. */
export async function measureGenerationInNode(places: Places, rounds: number): Promise<PeerFigures> {
  const script = fileURLToPath(new URL("./transformers-js-run.ts", import.meta.url));
  const args = [script, places.package, places.models, places.prompt, String(rounds)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return suffixed(JSON.parse(stdout) as PeerFigures, "node");
}

const PAGE = `<!doctype html><script type="module">
import { env, pipeline } from "/transformers/transformers.min.js";
import { T5 } from "/edge-t5/edge-t5.js";
Object.assign(env, { allowLocalModels: true, allowRemoteModels: false, localModelPath: "/models/" });
Object.assign(env.backends.onnx.wasm, { wasmPaths: "/onnxruntime/", numThreads: 1 });
const loaded = {};
globalThis.load = async (library) => {
  const started = performance.now();
  loaded[library] =
    library === "edge_t5"
      ? await T5.fromPretrained(location.origin + "/package")
      : await pipeline("text2text-generation", library, { device: "wasm" });
  return performance.now() - started;
};
globalThis.generate = async (library, prompt, options) => {
  const model = loaded[library];
  const started = performance.now();
  if (library === "edge_t5") await model.generate(prompt, options);
  else await model(prompt, options);
  return performance.now() - started;
};
</script>`;

/** Loads are timed in a new page each. @param work folder for the kit's bundle */
export async function measureGenerationInChromium(places: Places, work: string, rounds: number): Promise<PeerFigures> {
  const bundle = join(work, "bundle");
  await mkdir(bundle, { recursive: true });
  await build({
    entryPoints: [join(ROOT, "src/index.browser.ts")],
    bundle: true,
    format: "esm",
    platform: "browser",
    outfile: join(bundle, "edge-t5.js"),
    logLevel: "error",
  });
  await cp(join(ROOT, "src/kernels/build"), join(bundle, "build"), { recursive: true });
  const { address, close } = await serve(PAGE, {
    models: places.models,
    package: places.package,
    "edge-t5": bundle,
    transformers: join(TRANSFORMERS, "dist"),
    // The one that it was built with.
    onnxruntime: dirname(createRequire(join(TRANSFORMERS, "package.json")).resolve("onnxruntime-web")),
  });
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const open = async (): Promise<Page> => {
      const page = await (await browser.newContext()).newPage();
      await page.goto(address);
      await page.waitForFunction("globalThis.generate");
      return page;
    };
    let answering: Page | undefined;
    const figures = await compareGeneration(
      {
        async load(library) {
          const page = await open();
          const ms = await page.evaluate<number>(`load("${library}")`);
          await page.context().close();
          return ms;
        },
        async generate(library) {
          if (!answering) {
            answering = await open();
            for (const each of LIBRARIES) await answering.evaluate(`load("${each}")`);
          }
          const args = [library, places.prompt, GENERATION].map((each) => JSON.stringify(each));
          return answering.evaluate<number>(`generate(${args.join(", ")})`);
        },
      },
      rounds,
    );
    return suffixed(figures, "chromium");
  } finally {
    await browser.close();
    close();
  }
}

/** Rows of the table: the key without where it ran, what it is, digits after the point. */
export const GENERATION_ROWS: readonly [key: string, what: string, digits: number][] = [
  ["edge_t5_ms_per_token", "edge-t5, ms a token", 2],
  ["transformersjs_ms_per_token", "transformers.js, ms a token", 2],
  ["transformersjs_row_ms_per_token", "  with the kit's arithmetic", 2],
  ["edge_t5_over_transformersjs", "edge-t5 ÷ transformers.js", 3],
  ["edge_t5_over_transformersjs_row", "  with the kit's arithmetic", 3],
  ["edge_t5_load_ms", "edge-t5, load, ms", 0],
  ["transformersjs_load_ms", "transformers.js, load, ms", 0],
  ["transformersjs_row_load_ms", "  with the kit's arithmetic", 0],
];

export function generationTable(figures: PeerFigures): string {
  const places = ["node", "chromium"].filter((place) => `edge_t5_ms_per_token_${place}` in figures);
  return formatTable(
    ["", ...places.map((place) => place.toUpperCase())],
    GENERATION_ROWS.map(([key, what, digits]) => [
      what,
      ...places.map((place) => figures[`${key}_${place}`]?.toFixed(digits) ?? ""),
    ]),
  );
}

if (import.meta.main) {
  const { values: options } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: "9" },
      "skip-chromium": { type: "boolean", default: false },
    },
  });
  const rounds = Number(options.rounds);
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const work = await mkdtemp(join(tmpdir(), "edge-t5-transformers-js-"));
  try {
    say("making a checkpoint of T5-small's shape with random weights (seed 1), a package at int8, and exports");
    const places = await prepareGeneration(work);
    say(`measuring in Node: ${rounds} rounds`);
    const figures = await measureGenerationInNode(places, rounds);
    if (!options["skip-chromium"] && existsSync(CHROMIUM)) {
      say(`measuring in Chromium: ${rounds} rounds`);
      Object.assign(figures, await measureGenerationInChromium(places, work, rounds));
    }
    console.log(generationTable(figures));
    console.log(
      `\nA prompt of ${PROMPT_TOKENS} tokens and ${NEW_TOKENS} new ones, greedy, from text to text; one thread.`,
    );
    if (options.json) console.log(JSON.stringify({ figures, rounds }));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
