/** How blobs get from R2, as workerd has it, into memory: under the hash that R2 holds them to, or hashed. */
import { expect, test } from "vitest";
import { loadBlobs } from "../../src/engines/load.ts";
import { MODELS_PREFIX, modelStore, R2Store } from "../../src/store/r2.ts";
import { sha256Of } from "../../src/store/sha256.ts";
import { blobKey } from "../../src/t5/manifest.ts";
import { bucket } from "./isolate.ts";

const BYTES = Uint8Array.from({ length: 700_001 }, (_, i) => (i * 31) >> 3);
const OTHERS = BYTES.with(5, 99);

async function put(name: string, bytes: Uint8Array<ArrayBuffer>, options: R2PutOptions = {}): Promise<string> {
  const hash = await sha256Of(BYTES);
  await bucket.put(`${MODELS_PREFIX}${name}/${blobKey(hash)}`, bytes, options);
  return hash;
}

function load(name: string, hash: string, memory: Uint8Array): Promise<void> {
  return loadBlobs(modelStore(bucket, name), [{ hash, bytes: BYTES.length, memory, at: 64 }]);
}

test("R2 tells the SHA-256 that an object was put with, and takes no other bytes for it", async () => {
  const hash = await put("held", BYTES, { sha256: await sha256Of(BYTES) });
  const target = new Uint8Array(BYTES.length);
  const filling = await new R2Store(bucket, `${MODELS_PREFIX}held/`).fill(blobKey(hash), target);
  expect(filling?.sha256).toBe(hash);
  for await (const _ of filling?.arrivals ?? []);
  expect(await sha256Of(target)).toBe(hash);
  await expect(put("held", OTHERS, { sha256: hash })).rejects.toThrow();
});

test.each([
  ["with its hash", async () => ({ sha256: await sha256Of(BYTES) })],
  ["without", async () => ({})],
])("loads a blob that was put %s", async (_, options) => {
  const hash = await put("good", BYTES, await options());
  const memory = new Uint8Array(BYTES.length + 100);
  await load("good", hash, memory);
  expect(await sha256Of(memory.subarray(64, 64 + BYTES.length))).toBe(hash);
});

test.each([
  ["without a hash", async () => ({})],
  ["with its own", async () => ({ sha256: await sha256Of(OTHERS) })],
])("refuses other bytes that were put under a blob's name %s", async (_, options) => {
  const hash = await put("spoiled", OTHERS, await options());
  await expect(load("spoiled", hash, new Uint8Array(BYTES.length + 100))).rejects.toMatchObject({
    code: "E_BLOB_CORRUPT",
  });
});

test("refuses a blob that is shorter or longer than the manifest says, whatever it was put with", async () => {
  for (const bytes of [BYTES.slice(1), new Uint8Array([...BYTES, 0])]) {
    await put("cut", bytes, { sha256: await sha256Of(bytes) });
    const hash = await sha256Of(BYTES);
    await expect(load("cut", hash, new Uint8Array(BYTES.length + 100))).rejects.toMatchObject({
      code: "E_BLOB_CORRUPT",
    });
  }
});
