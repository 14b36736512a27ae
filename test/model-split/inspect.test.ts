import { describe, expect, it } from "vitest";
import { inspectPackage, splitCheckpoint } from "../../model-split/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { blobKey } from "../../src/t5/manifest.ts";
import { temporaryFolder, writeCheckpoint } from "./checkpoints.ts";

async function packageInMemory() {
  const out = await temporaryFolder();
  const { manifest } = await splitCheckpoint(await writeCheckpoint(), out, { bits: 8, name: "m" });
  const folder = new FolderStore(out);
  const memory = new MemoryStore();
  for (const key of ["manifest.json", ...Object.keys(manifest.blobs).map(blobKey)]) {
    await memory.put(key, (await folder.get(key))!);
  }
  return { memory, manifest, hashes: Object.keys(manifest.blobs) };
}

describe("inspectPackage", () => {
  it("adds up what the manifest says", async () => {
    const { memory, manifest } = await packageInMemory();
    const inspection = await inspectPackage(memory);
    expect(inspection).toMatchObject({ name: "m", bits: 8, tiedHead: true, hasTokenizer: false, unreferenced: null });
    // 37 × 12 embedding; encoder 4 × 15 × 12 + 2 × 20 × 12 + 8 × 3 + 3 × 12; decoder 8 × 15 × 12 + 2 × 20 × 12 + 8 × 3 + 4 × 12.
    expect(inspection.parameters).toBe(444 + 1260 + 1992);
    expect(inspection.tensors.find((tensor) => tensor.name === "shared.weight")).toMatchObject({
      dtype: "int8",
      shape: [37, 12],
      bytes: 37 * 12 + 37 * 4,
    });
    expect(inspection.bytes).toBe(Object.values(manifest.blobs).reduce((sum, blob) => sum + blob.bytes, 0));
    const [embedding, encoder, decoder] = inspection.blobs;
    expect(inspection.shards.map((shard) => shard.bytes)).toEqual([
      embedding!.bytes + encoder!.bytes,
      embedding!.bytes + decoder!.bytes,
    ]);
  });

  it("checks blobs in any store when asked to", async () => {
    const { memory, hashes } = await packageInMemory();
    const states = async (verify: boolean) =>
      (await inspectPackage(memory, { verify })).blobs.map((blob) => blob.state);
    expect(await states(false)).toEqual(Array(6).fill("unchecked"));
    expect(await states(true)).toEqual(Array(6).fill("ok"));
    memory.delete(blobKey(hashes[0]!));
    await memory.put(blobKey(hashes[2]!), new Uint8Array(3));
    expect(await states(true)).toEqual(["missing", "ok", "corrupt", "ok", "ok", "ok"]);
  });

  it("says where there is no package", async () => {
    const dir = await temporaryFolder();
    await expect(inspectPackage(new FolderStore(dir))).rejects.toMatchObject({
      code: "E_PACKAGE_NOT_FOUND",
      message: expect.stringContaining(dir),
    });
  });
});
