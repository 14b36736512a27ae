/**
 * `npm run bench:bundles [-- --json]`: what a deployment uploads for each Worker, gzipped: `wrangler deploy --dry-run` with
 * the configurations as they are. The same on every machine.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { formatTable } from "../../src/cli/output.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const WRANGLER = join(ROOT, "node_modules/wrangler/bin/wrangler.js");

/** Every Worker's configuration, by its name in the figures. */
export const CONFIGS = {
  gateway: "wrangler.toml",
  encoder: "functions/encoder/wrangler.toml",
  decoder: "functions/decoder/wrangler.toml",
  model: "functions/model/wrangler.toml",
  reader: "functions/reader/wrangler.toml",
  ocr: "functions/ocr/wrangler.toml",
} as const;

export type WorkerName = keyof typeof CONFIGS;

/** What one Worker is made of: code, WASM modules and data, by file name. */
export function bundleOf(worker: WorkerName): Promise<Map<string, Buffer>> {
  return dryRun(join(ROOT, CONFIGS[worker]));
}

/** What `wrangler deploy --dry-run` would upload. @throws what wrangler says, when it refuses */
export async function dryRun(config: string): Promise<Map<string, Buffer>> {
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-bundle-"));
  try {
    const args = [WRANGLER, "deploy", "--dry-run", "-c", config, "--outdir", dir];
    const env = { ...process.env, WRANGLER_SEND_METRICS: "false" };
    await promisify(execFile)(process.execPath, args, { cwd: ROOT, env });
    // Source maps are uploaded beside the bundle and are no part of it.
    const names = (await readdir(dir)).filter((name) => /\.(js|wasm|gz)$/.test(name));
    return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(dir, name))] as const)));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export interface BundleFigures {
  gateway_gzip_kb: number;
  encoder_gzip_kb: number;
  decoder_gzip_kb: number;
  /** Encoder and decoder in one Worker. */
  model_gzip_kb: number;
  /** Readers of documents and tables. */
  reader_gzip_kb: number;
  /** Tesseract, and its trained data for three languages. */
  ocr_gzip_kb: number;
}

export async function measureBundles(): Promise<BundleFigures> {
  const figures: Partial<BundleFigures> = {};
  for (const worker of Object.keys(CONFIGS) as WorkerName[]) {
    const files = [...(await bundleOf(worker)).values()];
    figures[`${worker}_gzip_kb`] = files.reduce((sum, bytes) => sum + gzipSync(bytes).length, 0) / 1e3;
  }
  return figures as BundleFigures;
}

export function bundleTable(figures: BundleFigures): string {
  const rows = Object.entries(figures).map(([key, kb]) => [key.replace("_gzip_kb", ""), kb.toFixed(1).padStart(8)]);
  return formatTable(["BUNDLE", "GZIP, KB"], rows);
}

if (import.meta.main) {
  const figures = await measureBundles();
  if (process.argv.includes("--json")) console.log(JSON.stringify({ figures }));
  else console.log(bundleTable(figures));
}
