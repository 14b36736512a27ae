/**
 * `npm run bench:readers [-- --workerd] [--json] [NAME…]`: time and memory of reading one file, each in a process of its own,
 * with the limits of functions/reader; of a hostile one, until it is refused. Memory is what the process grew by at most,
 * the reader's code, the file and its content included. In Node the JavaScript heap has 100 MB, about what an isolate of
 * 128 MB leaves; with `--workerd`, the Workers run in workerd too, as they are built for deployment.
 *
 * And what each reader adds to a bundle: alone, minified and gzipped; readers share some of it.
 */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { formatTable } from "../../src/cli/output.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { createNodeOcr } from "../../src/readers/image/node.ts";
import { contentOfPages } from "../../src/readers/image/ocr.ts";
import { DEFAULT_LIMITS, type ReadLimits, readContent } from "../../src/readers/index.ts";
import type { Content } from "../../src/t5/text-to-text/content.ts";
import { bundleOf } from "./bundles.ts";
import { type BenchFile, FILES } from "./reader-files.ts";
import { peakOf, resetPeak, ServedWorker, settingsOf } from "./reader-workerd.ts";

const HEAP_MB = 100;
const READERS = ["csv", "json-rows", "xlsx", "docx", "html", "markdown", "pdf", "eml", "text"] as const;

interface Run {
  readonly ms: number;
  readonly grown_mb: number;
  /** "40 blocks", "1,000 rows", or the error's code. */
  readonly result: string;
}

interface FileFigures {
  readonly file: string;
  readonly megabytes: number;
  readonly is_hostile: boolean;
  /** Null where its heap was not enough. */
  readonly node: Run | null;
  readonly workerd?: Run;
}

const isImage = (name: string) => name.endsWith(".png");

async function limitsOf(name: string): Promise<ReadLimits> {
  const { vars } = await settingsOf(isImage(name) ? "ocr" : "reader");
  const set = Object.entries(vars).map(([name, value]) => [camelCase(name), value]);
  return { ...DEFAULT_LIMITS, ...Object.fromEntries(set) };
}

/** MAX_BYTES: maxBytes. */
function camelCase(name: string): string {
  return name.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

async function readInNode(path: string, file: BenchFile): Promise<Run> {
  const bytes = new Uint8Array(await readFile(path));
  const limits = await limitsOf(file.name);
  const { pid } = process;
  const before = await resetPeak(pid);
  const began = performance.now();
  const read = async () => {
    if (!isImage(file.name)) return readContent(bytes, { as: file.as, filename: file.name }, limits);
    const ocr = await createNodeOcr();
    return contentOfPages(await ocr.recognize(bytes, { languages: ["eng"], limits }), ["eng"]);
  };
  const result = await read().then(resultOf, codeOf);
  const ms = performance.now() - began;
  return { ms, grown_mb: (await peakOf(pid)) - before, result };
}

function resultOf(content: Content): string {
  const [count, unit] =
    content.kind === "document"
      ? [content.document.blocks.length, "blocks"]
      : [content.tables.reduce((sum, { rows }) => sum + rows.length, 0), "rows"];
  return `${count.toLocaleString("en")} ${unit}`;
}

function codeOf(error: unknown): string {
  if (error instanceof EdgeT5Error) return error.code;
  throw error;
}

/** In a process that has only this file in its memory. */
function spawnNode(path: string, { name }: BenchFile): Run | null {
  const args = [`--max-old-space-size=${HEAP_MB}`, fileURLToPath(import.meta.url), "--child", path, name];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status === 0) return JSON.parse(stdout) as Run;
  if (/heap out of memory|heap limit/.test(stderr)) return null;
  throw new Error(`${name}: ${stderr}`);
}

type Bundles = Readonly<Record<"reader" | "ocr", ReadonlyMap<string, Buffer>>>;

async function readInWorkerd(bytes: Uint8Array, file: BenchFile, bundles: Bundles): Promise<Run> {
  const name = isImage(file.name) ? "ocr" : "reader";
  const worker = await ServedWorker.start(bundles[name], await settingsOf(name));
  try {
    const path = name === "ocr" ? "/ocr?languages=eng" : `/read?as=${file.as}`;
    let result = "";
    let ms = 0;
    const grown_mb = await worker.growth(async () => {
      const began = performance.now();
      const headers = { "x-edge-t5-filename": file.name, "content-type": "application/octet-stream" };
      const response = await fetch(worker.url + path, { method: "POST", headers, body: Buffer.from(bytes) });
      const answer = (await response.json()) as Content | { error: { code: string } };
      ms = performance.now() - began;
      result = "error" in answer ? answer.error.code : resultOf(answer);
    });
    return { ms, grown_mb, result };
  } finally {
    await worker.stop();
  }
}

async function bundleSizes(): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {};
  for (const reader of READERS) {
    const entry = fileURLToPath(new URL(`../../src/readers/${reader}.ts`, import.meta.url));
    const { outputFiles } = await build({
      entryPoints: [entry],
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      platform: "browser",
      logLevel: "error",
    });
    sizes[reader] = gzipSync(outputFiles[0]!.contents).length / 1e3;
  }
  return sizes;
}

async function measureFiles(names: readonly string[], inWorkerd: boolean): Promise<FileFigures[]> {
  const bundles = inWorkerd ? { reader: await bundleOf("reader"), ocr: await bundleOf("ocr") } : null;
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-files-"));
  const figures: FileFigures[] = [];
  try {
    for (const file of FILES.filter(({ name }) => names.length === 0 || names.includes(name))) {
      const bytes = await file.make();
      const path = join(dir, file.name);
      await writeFile(path, bytes);
      figures.push({
        file: file.what,
        megabytes: bytes.length / 1e6,
        is_hostile: file.isHostile,
        node: spawnNode(path, file),
        ...(bundles && { workerd: await readInWorkerd(bytes, file, bundles) }),
      });
      await rm(path);
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return figures;
}

function filesTable(figures: readonly FileFigures[]): string {
  const cells = (run: Run | null | undefined) =>
    run ? [run.ms.toFixed(0).padStart(6), run.grown_mb.toFixed(0).padStart(6)] : ["", ""];
  const rows = figures.map(({ file, megabytes, node, workerd }) => [
    file,
    megabytes.toFixed(2).padStart(6),
    ...cells(node),
    ...(workerd ? cells(workerd) : []),
    node === null ? `more than ${HEAP_MB} MB of heap in Node` : node.result,
    ...(workerd && workerd.result !== node?.result ? [`in workerd: ${workerd.result}`] : []),
  ]);
  const inWorkerd = figures.some(({ workerd }) => workerd) ? ["WORKERD, MS", "GROWN, MB"] : [];
  return formatTable(["FILE", "MB", "NODE, MS", "GROWN, MB", ...inWorkerd, "READ"], rows);
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      workerd: { type: "boolean" },
      child: { type: "boolean" },
    },
  });
  if (values.child) {
    const [path = "", name] = positionals;
    console.log(JSON.stringify(await readInNode(path, FILES.find((file) => file.name === name)!)));
  } else {
    const files = await measureFiles(positionals, values.workerd ?? false);
    const bundles = await bundleSizes();
    if (values.json) console.log(JSON.stringify({ files, bundle_gzip_kb: bundles }));
    else {
      const sizes = Object.entries(bundles).map(([reader, kb]) => [reader, kb.toFixed(1).padStart(8)]);
      console.log(`${filesTable(files)}\n\n${formatTable(["READER", "GZIP, KB"], sizes)}`);
    }
  }
}
