/** Models as an origin gets and keeps them: fetched once, checked by their hashes, fetched again when the folder is damaged. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { simdEngine } from "../../src/engines/simd/index.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { OriginModels } from "../../src/placement/origin/models.ts";
import { ObjectCache } from "../../src/placement/origin/object-cache.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { modelId } from "../../src/store/r2.ts";
import type { Store } from "../../src/store/store.ts";
import { MANIFEST_KEY } from "../../src/t5/manifest.ts";
import { versionOf } from "../../src/tenancy/model-versions.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "edge-t5-models-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const version = await versionOf(await readFile(join(DEFAULT_PACKAGE, MANIFEST_KEY), "utf8"));

/** The packaged model as it lies in a bucket, and what is asked of it. */
function bucket(change: (key: string, body: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array> = (_, b) => b) {
  const packaged = new FolderStore(DEFAULT_PACKAGE);
  const asked: string[] = [];
  const store: Store = {
    description: "bucket",
    async get(key) {
      asked.push(key);
      const path = key.replace(/^models\/default\/(versions\/[^/]+\/)?/, "");
      const body = await packaged.get(path);
      return body && change(key, body);
    },
  };
  return { store, asked };
}

async function modelsOf(store: Store): Promise<OriginModels> {
  const load = simdEngine(await loadKernels());
  const limits = { maxInputTokens: 64, maxNewTokens: 16, maxSequences: 2 };
  return new OriginModels({ objects: new ObjectCache(store, folder), load, loadForAdapters: load, limits });
}

async function use(models: OriginModels): Promise<number> {
  const { engine } = await models.use(modelId("default", version), undefined, new AbortController().signal);
  return (await engine.encoder.encode([5, 1])).length;
}

const blobs = () => join(folder, "models/default/blobs");

test("those who ask at once share one load; another process finds it in the folder", async () => {
  const { store, asked } = bucket();
  const models = await modelsOf(store);
  const [one, two] = await Promise.all([use(models), use(models)]);
  expect([one, two]).toEqual([512, 512]);
  expect(new Set(asked).size).toBe(asked.length);
  const before = asked.length;
  expect(await use(await modelsOf(store))).toBe(512);
  expect(asked.length).toBe(before);
});

test("what was damaged in the folder is fetched again", async () => {
  const { store, asked } = bucket();
  await use(await modelsOf(store));
  const before = asked.length;
  const names = await readdir(blobs());
  for (const name of names) {
    const bytes = await readFile(join(blobs(), name));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await writeFile(join(blobs(), name), bytes);
  }
  expect(await use(await modelsOf(store))).toBe(512);
  expect(asked.slice(before).sort()).toEqual(names.map((name) => `models/default/blobs/${name}`).sort());
});

test("what is damaged in the bucket is refused, and not kept; mended, it is loaded", async () => {
  let isDamaged = true;
  const aByteMore = () =>
    new TransformStream<Uint8Array, Uint8Array>({ flush: (controller) => controller.enqueue(new Uint8Array(1)) });
  const { store } = bucket((_, body) => (isDamaged ? body.pipeThrough(aByteMore()) : body));
  const models = await modelsOf(store);
  await expect(use(models)).rejects.toMatchObject({ code: "E_BLOB_CORRUPT" });
  const all = await readdir(folder, { recursive: true, withFileTypes: true });
  expect(all.filter((entry) => entry.isFile())).toEqual([]);
  isDamaged = false;
  expect(await use(models)).toBe(512);
});
