import { describe, expect, test } from "vitest";
import { blobsOf } from "../../src/engines/load.ts";
import { loadSimdEngine } from "../../src/engines/simd/index.ts";
import { planMemory } from "../../src/engines/simd/plan.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { blobKey } from "../../src/t5/manifest.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { greedy, LIMITS, someIds, tinyEngine, tinyPackage } from "./tiny.ts";

const ROLES = ["encoder", "decoder"] as const;

describe("the memory plan", () => {
  test("has every blob, one after the other, and an arena for all sequences", async () => {
    const { manifest } = await tinyPackage(8);
    const plan = planMemory(manifest, ROLES, LIMITS);
    const blobs = [...plan.blobs].map(([hash, at]) => ({ at, end: at + manifest.blobs[hash]!.bytes }));
    expect(blobs).toHaveLength(3);
    for (const [i, { at }] of blobs.entries()) {
      expect(at % 64).toBe(0);
      if (i > 0) expect(at).toBeGreaterThanOrEqual(blobs[i - 1]!.end);
    }
    expect(plan.pages * 65536).toBeGreaterThanOrEqual(plan.arena.at + plan.arena.bytes);
  });

  test("takes the embedding once, and each half only what it needs", async () => {
    const { manifest } = await tinyPackage(8);
    const roles = (wanted: readonly ("encoder" | "decoder")[]) =>
      blobsOf(manifest, wanted).map((hash) => manifest.blobs[hash]?.role);
    expect(roles(["encoder"])).toEqual(["embedding", "encoder"]);
    expect(roles(["decoder"])).toEqual(["embedding", "decoder"]);
    expect(roles(ROLES)).toEqual(["embedding", "encoder", "decoder"]);
  });

  test("shrinks the arena to the memory, and refuses one without room for a sequence", async () => {
    const { manifest } = await tinyPackage(8);
    const limits = { ...LIMITS, maxSequences: 60 };
    const whole = planMemory(manifest, ROLES, limits);
    const memoryBytes = whole.arena.at + Math.floor(whole.arena.bytes / 2);
    const cut = planMemory(manifest, ROLES, { ...limits, memoryBytes });
    expect(cut.arena.bytes).toBeLessThan(whole.arena.bytes);
    expect(cut.pages * 65536).toBeLessThanOrEqual(memoryBytes);
    expect(() => planMemory(manifest, ROLES, { ...limits, memoryBytes: whole.arena.at })).toThrow(
      expect.objectContaining({ code: "E_CAPACITY", message: expect.stringContaining("Lower the token limits") }),
    );
  });
});

test("a step of more sequences than it has rows gives each the logits that it has alone", async () => {
  const { encoder, decoder } = await tinyEngine(8, { maxSequences: 80 });
  const hidden = await encoder.encode(someIds(9, 1));
  const sequences = await decoder.openAll([{ hidden, maxNewTokens: 4, copies: 70 }]);
  const tokens = sequences.map((_, i) => i % 60);
  const { logits } = await decoder.step(sequences, tokens);
  const together = sequences.map((_, i) => logits(i).slice());
  for (const i of [0, 63, 64, 69]) {
    const alone = await decoder.open(hidden, 4);
    expect((await decoder.step([alone], [tokens[i]!])).logits(0)).toEqual(together[i]);
    decoder.close(alone);
  }
});

test("a plan beyond WASM's four gigabytes is refused, with what to do", async () => {
  const { manifest } = await tinyPackage(8);
  expect(() => planMemory(manifest, ROLES, { ...LIMITS, maxSequences: 1_000_000 })).toThrow(
    expect.objectContaining({ code: "E_CAPACITY", message: expect.stringContaining("--engine onnx") }),
  );
});

describe("loading", () => {
  describe.each(["memory", "a folder"])("from %s", (where) =>
    test.each([
      ["missing", null, "E_BLOB_MISSING"],
      ["one bit off", (bytes: Uint8Array) => bytes.with(99, bytes[99]! ^ 4), "E_BLOB_CORRUPT"],
      ["too short", (bytes: Uint8Array) => bytes.slice(1), "E_BLOB_CORRUPT"],
      ["too long", (bytes: Uint8Array) => new Uint8Array([...bytes, 0]), "E_BLOB_CORRUPT"],
    ] as const)(
      "refuses a blob that is %s, and loads into the same memory once it is mended",
      async (_, spoil, code) => {
        const { manifest, store: whole } = await tinyPackage(8);
        const hash = blobsOf(manifest, ["decoder"])[1]!;
        const good = new Uint8Array(await new Response(await whole.get(blobKey(hash))).arrayBuffer());
        const store = where === "memory" ? new MemoryStore() : new FolderStore(await temporaryFolder());
        for (const each of Object.keys(manifest.blobs)) {
          const stream = await whole.get(blobKey(each));
          if (each !== hash && stream) await store.put(blobKey(each), stream);
        }
        if (spoil) await store.put(blobKey(hash), spoil(good));
        let memory: WebAssembly.Memory | undefined;
        const load = async () =>
          loadSimdEngine({
            manifest,
            store,
            kernels: await loadKernels(),
            roles: ROLES,
            limits: LIMITS,
            memory,
            onMemory: (each) => {
              memory = each;
            },
          });
        await expect(load()).rejects.toMatchObject({ code, message: expect.stringContaining(hash) });
        const first = memory;
        await store.put(blobKey(hash), good);
        const engine = await load();
        expect(engine.memory).toBe(first);
        const fresh = await tinyEngine(8);
        expect(await greedy(engine, [someIds(9, 1)], 12)).toEqual(await greedy(fresh, [someIds(9, 1)], 12));
      },
    ),
  );

  test("stops when it is aborted", async () => {
    const { manifest, store } = await tinyPackage(8);
    const controller = new AbortController();
    const loading = loadSimdEngine({
      manifest,
      store,
      kernels: await loadKernels(),
      roles: ROLES,
      limits: LIMITS,
      onProgress: () => controller.abort(new Error("enough")),
      signal: controller.signal,
    });
    await expect(loading).rejects.toThrow("enough");
  });
});
