/** Models as an origin gets and keeps them: fetched once, checked by their hashes, fetched again when the folder is damaged. */
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { simdEngine } from "../../src/engines/simd/index.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { OriginModels } from "../../src/placement/origin/models.ts";
import { ObjectCache } from "../../src/placement/origin/object-cache.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { modelId } from "../../src/store/r2.ts";
import { sha256Of } from "../../src/store/sha256.ts";
import { StagedFile } from "../../src/store/staged-file.ts";
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

async function modelsOf(store: Store, mostBytes = 1e9): Promise<OriginModels> {
  const load = simdEngine(await loadKernels());
  const limits = { maxInputTokens: 64, maxNewTokens: 16, maxSequences: 2 };
  return new OriginModels({ objects: new ObjectCache(store, folder, mostBytes), load, loadForAdapters: load, limits });
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

describe("the folder has a size", () => {
  /** Objects of a hundred bytes each, named by their hashes. */
  async function objects(count: number) {
    const bodies = new Map<string, Uint8Array>();
    for (let i = 0; i < count; i++) {
      const body = new Uint8Array(100).fill(i);
      bodies.set(`models/m/blobs/${await sha256Of(body)}`, body);
    }
    const asked: string[] = [];
    const store: Store = {
      description: "bucket",
      async get(key) {
        asked.push(key);
        const body = bodies.get(key);
        return body ? new Response(Uint8Array.from(body)).body : null;
      },
    };
    return { keys: [...bodies.keys()], bodies, store, asked };
  }
  const read = async (cache: ObjectCache, key: string) =>
    new Uint8Array(await new Response((await cache.get(key))?.body).arrayBuffer());
  const kept = async () =>
    (await readdir(join(folder, "models/m/blobs"))).map((name) => `models/m/blobs/${name}`).sort();
  /** As if each had been used a minute after the one before. */
  async function used(keys: readonly string[]): Promise<void> {
    for (const [i, key] of keys.entries()) await utimes(join(folder, key), 0, 1000 + 60 * i);
  }

  test("what was used longest ago makes room, and is fetched again when it is asked for", async () => {
    const { keys, bodies, store, asked } = await objects(5);
    const [a = "", b = "", c = "", d = "", e = ""] = keys;
    const cache = new ObjectCache(store, folder, 300);
    for (const key of [a, b, c]) await read(cache, key);
    expect(await kept()).toEqual([a, b, c].sort());
    await used([a, b, c]);
    // Read again, from the folder: the next oldest goes.
    expect(await read(cache, a)).toEqual(bodies.get(a));
    expect(asked).toEqual([a, b, c]);
    await read(cache, d);
    expect(await kept()).toEqual([a, c, d].sort());
    await used([c, d, a]);
    // By another process, to which the files' times tell the same; its bound is a lower one.
    await read(new ObjectCache(store, folder, 200), e);
    expect(await kept()).toEqual([a, e].sort());
    expect(await read(cache, b)).toEqual(bodies.get(b));
    expect(asked).toEqual([a, b, c, d, e, b]);
  });

  test("what is being read is read to its end, and more than fits is read all the same", async () => {
    const { keys, bodies, store } = await objects(8);
    const cache = new ObjectCache(store, folder, 150);
    const [first = "", ...others] = keys;
    const open = await cache.get(first);
    const all = await Promise.all(others.map((key) => read(cache, key)));
    expect(all).toEqual(others.map((key) => bodies.get(key)));
    expect(await kept()).not.toContain(first);
    expect(new Uint8Array(await new Response(open?.body).arrayBuffer())).toEqual(bodies.get(first));
    expect((await kept()).length).toBe(1);
    // What a killed process left half-fetched goes too.
    const left = await StagedFile.create(join(folder, "models/m/blobs"));
    const name = (await readdir(join(folder, "models/m/blobs"))).find((each) => StagedFile.isTemporary(each)) ?? "";
    await left.discard();
    const other = name.replace(String(process.pid), "999999999");
    await writeFile(join(folder, "models/m/blobs", other), "half");
    await read(cache, first);
    expect(await readdir(join(folder, "models/m/blobs"))).not.toContain(other);
  });

  test("a model that is larger than it is loaded", async () => {
    const { store } = bucket();
    expect(await use(await modelsOf(store, 1000))).toBe(512);
  });
});
