/** What is deployed, and no more. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { bundleOf, dryRun, type WorkerName } from "../bench/bundles.ts";
import { T5_SMALL, writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { edgeT5 } from "../cli/process.ts";

const BUILD_MS = 60_000;

async function sizeAndCode(worker: WorkerName): Promise<{ kilobytes: number; code: string; files: string[] }> {
  const files = await bundleOf(worker);
  const kilobytes = [...files.values()].reduce((sum, bytes) => sum + gzipSync(bytes).length, 0) / 1e3;
  return { kilobytes, code: files.get("index.js")?.toString() ?? "", files: [...files.keys()] };
}

test("the gateway has a tokenizer and no kernels", { timeout: BUILD_MS }, async () => {
  const { kilobytes, code, files } = await sizeAndCode("gateway");
  expect(kilobytes).toBeLessThan(300);
  expect(files).toEqual(["index.js"]);
  expect(code).toContain("id_to_token");
});

test.each(["encoder", "decoder", "model"] as const)(
  "the %s has kernels and no tokenizer",
  {
    timeout: BUILD_MS,
  },
  async (worker) => {
    const { kilobytes, code, files } = await sizeAndCode(worker);
    expect(kilobytes).toBeLessThan(150);
    expect(files.filter((name) => name.endsWith(".wasm"))).toHaveLength(2);
    expect(code).not.toContain("id_to_token");
  },
);

test("no bundle has messages in languages that nobody asked for", { timeout: BUILD_MS }, async () => {
  // zod has them all, and a bundler drops them only where zod is imported as a namespace.
  for (const worker of ["gateway", "decoder"] as const) {
    expect((await sizeAndCode(worker)).code).not.toMatch(/\p{Script=Cyrillic}|\p{Script=Hebrew}|\\u04[0-9a-f]{2}/iu);
  }
});

describe("wrangler deploy --dry-run takes every Worker of", () => {
  let dir: string;
  let chain: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "edge-t5-dry-run-"));
    const size = { d_model: 64, d_kv: 16, d_ff: 128, num_heads: 4, num_layers: 3, num_decoder_layers: 3 };
    const { model } = await readManifest(new FolderStore(DEFAULT_PACKAGE));
    await writeRandomCheckpoint(join(dir, "checkpoint"), { ...T5_SMALL, ...size, vocab_size: model.vocabSize });
    chain = join(dir, "chain");
    await splitCheckpoint(join(dir, "checkpoint"), chain, { name: "chain", shardBytes: 645_000 });
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test.each([
    ["two halves, and readers", [], ["encoder", "decoder", "ocr", "reader", ""]],
    ["one Worker for both halves", ["--one-worker", "--readers", "documents"], ["model", "reader", ""]],
    ["onnxruntime-web", ["--engine", "onnx", "--readers", "none"], ["encoder", "decoder", ""]],
    ["a chain", null, ["encoder-0", "encoder", "decoder-0", "decoder-1", "decoder", ""]],
  ] as const)("%s", { timeout: BUILD_MS }, async (what, args, names) => {
    const out = join(dir, what.replaceAll(" ", "-"));
    const written = await edgeT5([
      "workers",
      args ? DEFAULT_PACKAGE : chain,
      ...(args ?? ["--readers", "none"]),
      ...["--out", out, "--json"],
    ]);
    const { workers } = JSON.parse(written.stdout) as { workers: { name: string; path: string }[] };
    expect(workers.map(({ name }) => name)).toEqual(names.map((name) => (name ? `edge-t5-${name}` : "edge-t5")));
    for (const { name, path } of workers) {
      const files = await dryRun(path);
      expect([basename(path), [...files.keys()].some((file) => file.endsWith(".js"))]).toEqual([`${name}.json`, true]);
    }
  });
});
