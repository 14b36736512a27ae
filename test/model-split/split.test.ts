import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { inspectPackage, type SplitOptions, splitCheckpoint } from "../../model-split/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { EMBEDDING, LM_HEAD, tensorsOf } from "../../src/t5/architecture.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { ALIGNMENT, blobKey, type Manifest, type PackagedTensor, readManifest } from "../../src/t5/manifest.ts";
import {
  cutTo,
  float32,
  type RawTensors,
  randomTensors,
  readFloat32,
  TINY_CONFIG,
  TINY_TOKENIZER,
  temporaryFolder,
  writeCheckpoint,
  writeParts,
} from "./checkpoints.ts";

const GOLDEN = fileURLToPath(new URL("../golden/relu-tied", import.meta.url));

/** Splits into a folder of its own and reads the manifest back from disk. */
async function split(dir: string, options: Partial<SplitOptions> = {}) {
  const out = await temporaryFolder();
  const result = await splitCheckpoint(dir, out, { bits: 8, name: "m", ...options });
  return { out, result, manifest: await readManifest(new FolderStore(out)) };
}

async function readRegion(out: string, blob: string, offset: number, bytes: number): Promise<ArrayBuffer> {
  const file = await readFile(join(out, blobKey(blob)));
  return Uint8Array.from(file.subarray(offset, offset + bytes)).buffer;
}

async function readTensor(out: string, { blob, offset, bytes, dtype, scales, shape }: PackagedTensor) {
  const data = await readRegion(out, blob, offset, bytes);
  if (dtype === "float32") return { values: new Float32Array(data), halfScales: null };
  const scale = new Float32Array(await readRegion(out, blob, scales!.offset, scales!.bytes));
  const values = Float64Array.from(new Int8Array(data), (int, i) => int * scale[Math.floor(i / shape[1]!)]!);
  return { values, halfScales: scale.map((s) => s / 2) };
}

function change(tensors: RawTensors, name: string, by: (values: Float32Array) => void): RawTensors {
  const { shape, bytes } = tensors.get(name)!;
  const values = new Float32Array(bytes.slice().buffer);
  by(values);
  return new Map(tensors).set(name, float32(shape, values));
}

describe("the package of a real checkpoint", () => {
  it("at 8 bits: linear weights and embedding within half a scale, the rest float32 as it was", async () => {
    const { out, manifest } = await split(GOLDEN);
    const specs = tensorsOf(manifest.model, true);
    expect(Object.keys(manifest.tensors)).toEqual(specs.map((spec) => spec.name));
    for (const { name, kind, shape } of specs) {
      const tensor = manifest.tensors[name]!;
      const source = await readFloat32(join(GOLDEN, "model.safetensors"), name);
      const { values, halfScales } = await readTensor(out, tensor);
      expect(tensor).toMatchObject({ shape, layout: "row-major" });
      expect(values.length).toBe(source.length);
      if (kind === "norm" || kind === "bias") {
        expect(values, name).toEqual(source);
      } else {
        expect(tensor.dtype).toBe("int8");
        const worst = source.reduce(
          (max, w, i) => Math.max(max, Math.abs(w - values[i]!) / halfScales![Math.floor(i / shape[1]!)]!),
          0,
        );
        expect(worst, name).toBeLessThanOrEqual(1 + 1e-9);
      }
    }
  });

  it("at 32 bits: every tensor as it was", async () => {
    const { out, manifest } = await split(GOLDEN, { bits: 32 });
    expect(manifest.quantization).toEqual({ bits: 32 });
    for (const [name, tensor] of Object.entries(manifest.tensors)) {
      expect(tensor).toMatchObject({ dtype: "float32" });
      expect((await readTensor(out, tensor)).values, name).toEqual(
        await readFloat32(join(GOLDEN, "model.safetensors"), name),
      );
    }
  });

  it("carries configuration, generation defaults and the directory's name", async () => {
    const out = await temporaryFolder();
    const { manifest } = await splitCheckpoint(GOLDEN, out, { bits: 8 });
    expect(manifest.name).toBe("relu-tied");
    expect(manifest.model).toEqual(
      parseHuggingFaceConfig(JSON.parse(await readFile(join(GOLDEN, "config.json"), "utf8"))),
    );
    expect(manifest.generation).toEqual(JSON.parse(await readFile(join(GOLDEN, "generation_config.json"), "utf8")));
    expect(manifest).toMatchObject({ tiedHead: true, tokenizer: null });
    expect(manifest.shards.map(({ role, layers }) => ({ role, layers }))).toEqual([
      { role: "encoder", layers: [0, 2] },
      { role: "decoder", layers: [0, 2] },
    ]);
    for (const shard of manifest.shards) {
      expect(shard.blobs.map((hash) => manifest.blobs[hash]!.role)).toEqual(["embedding", shard.role]);
    }
  });

  it("is whole: every blob hashes to its name", async () => {
    const { out } = await split(GOLDEN);
    const { blobs, unreferenced } = await inspectPackage(new FolderStore(out), { verify: true });
    expect(blobs.map((blob) => blob.state)).toEqual(Array(6).fill("ok"));
    expect(unreferenced).toEqual({ blobs: 0, bytes: 0 });
  });
});

describe("layout", () => {
  function regions(manifest: Manifest) {
    return Object.values(manifest.tensors).flatMap(({ blob, offset, bytes, scales }) => [
      { blob, offset, bytes },
      ...(scales ? [{ blob, ...scales }] : []),
    ]);
  }

  it.each([4, 8, 32] as const)(
    "at %i bits every region is aligned, inside its blob, and overlaps no other",
    async (bits) => {
      const { manifest } = await split(await writeCheckpoint(randomTensors(TINY_CONFIG, false)), { bits });
      const ends = new Map<string, number>();
      for (const { blob, offset, bytes } of regions(manifest).sort((a, b) => a.offset - b.offset)) {
        expect(offset % ALIGNMENT).toBe(0);
        expect(offset).toBeGreaterThanOrEqual(ends.get(blob) ?? 0);
        ends.set(blob, offset + bytes);
      }
      for (const [hash, end] of ends) expect(manifest.blobs[hash]!.bytes).toBe(end);
    },
  );

  it("q, k and v are one matrix with one vector of scales when their sizes allow", async () => {
    const { manifest } = await split(GOLDEN);
    for (const attention of ["encoder.block.0.layer.0.SelfAttention", "decoder.block.1.layer.1.EncDecAttention"]) {
      const [q, k, v, o] = ["q", "k", "v", "o"].map((name) => manifest.tensors[`${attention}.${name}.weight`]!);
      expect(k!.offset).toBe(q!.offset + q!.bytes);
      expect(v!.offset).toBe(k!.offset + k!.bytes);
      expect(k!.scales!.offset).toBe(q!.scales!.offset + q!.scales!.bytes);
      expect(v!.scales!.offset).toBe(k!.scales!.offset + k!.scales!.bytes);
      expect(q!.scales!.offset).toBeGreaterThanOrEqual(o!.offset + o!.bytes);
    }
  });
});

describe("determinism", () => {
  it("the same checkpoint gives the same manifest, byte for byte", async () => {
    const dir = await writeCheckpoint();
    const [a, b] = [await split(dir), await split(dir)];
    expect(await readFile(join(a.out, "manifest.json"), "utf8")).toBe(
      await readFile(join(b.out, "manifest.json"), "utf8"),
    );
  });

  it.each([4, 8, 32] as const)(
    "at %i bits an index with two parts gives the same package as one file",
    async (bits) => {
      const tensors = randomTensors(TINY_CONFIG, false);
      const one = await split(await writeCheckpoint(tensors), { bits });
      const two = await split(await writeParts(tensors), { bits });
      expect(two.manifest).toEqual(one.manifest);
    },
  );

  it.each(["F16", "BF16"] as const)(
    "%s weights give the same package as float32 ones of the same values",
    async (dtype) => {
      const { short, float32: wide } = cutTo(dtype, randomTensors());
      const a = await split(await writeCheckpoint(short), { bits: 32 });
      const b = await split(await writeCheckpoint(wide), { bits: 32 });
      expect(a.manifest).toEqual(b.manifest);
      expect((await split(await writeCheckpoint(short))).manifest).toEqual(
        (await split(await writeCheckpoint(wide))).manifest,
      );
    },
  );
});

describe("the head", () => {
  it("is the embedding when the file has no head", async () => {
    const { manifest } = await split(await writeCheckpoint(randomTensors(TINY_CONFIG, true)));
    expect(manifest.tiedHead).toBe(true);
    expect(manifest.tensors[LM_HEAD]).toBeUndefined();
  });

  it("is the embedding when the file's head equals it bit by bit, and is stored once", async () => {
    const tensors = randomTensors(TINY_CONFIG, true);
    const tied = await split(await writeCheckpoint(tensors));
    const copied = await split(await writeCheckpoint(new Map(tensors).set(LM_HEAD, tensors.get(EMBEDDING)!)));
    expect(copied.manifest).toEqual(tied.manifest);
  });

  it("is its own, in the decoder's blob, when one bit differs, whatever config.json says", async () => {
    const tensors = randomTensors(TINY_CONFIG, true);
    const head = change(tensors, EMBEDDING, (values) => {
      values[values.length - 1]! += 2 ** -20;
    }).get(EMBEDDING)!;
    const config = { ...TINY_CONFIG, tie_word_embeddings: true };
    const { manifest } = await split(await writeCheckpoint(new Map(tensors).set(LM_HEAD, head), config));
    expect(manifest.tiedHead).toBe(false);
    expect(manifest.blobs[manifest.tensors[LM_HEAD]!.blob]!.role).toBe("decoder");
    expect(manifest.model.scaleDecoderOutputs).toBe(true);
  });

  it.each(["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"])(
    "the embedding may be saved as %s",
    async (alias) => {
      const tensors = randomTensors();
      const renamed: RawTensors = new Map(
        [...tensors].map(([name, tensor]) => [name === EMBEDDING ? alias : name, tensor]),
      );
      expect((await split(await writeCheckpoint(renamed))).manifest).toEqual(
        (await split(await writeCheckpoint(tensors))).manifest,
      );
    },
  );
});

describe("what else a directory may hold", () => {
  it("carries the tokenizer's files as blobs", async () => {
    const dir = await writeCheckpoint();
    await writeFile(join(dir, "tokenizer.json"), TINY_TOKENIZER);
    await writeFile(join(dir, "tokenizer_config.json"), "{}");
    const { out, manifest, result } = await split(dir);
    const { json, config } = manifest.tokenizer as { json: string; config: string | null };
    expect(await readFile(join(out, blobKey(json)), "utf8")).toBe(TINY_TOKENIZER);
    expect(await readFile(join(out, blobKey(config!)), "utf8")).toBe("{}");
    expect(manifest.blobs[json]!.role).toBe("tokenizer");
    expect(manifest.generation).toBeNull();
    expect(result.warnings).toEqual([]);
  });

  it("knows ByT5 by its tokenizer's class, or by its vocabulary", async () => {
    const named = await writeCheckpoint();
    await writeFile(
      join(named, "tokenizer_config.json"),
      '{"tokenizer_class":"ByT5Tokenizer","extra_ids":10,"added_tokens_decoder":{}}',
    );
    expect((await split(named)).manifest.tokenizer).toEqual({ sentinels: 10 });
    const config = { ...TINY_CONFIG, vocab_size: 384 };
    const unnamed = await writeCheckpoint(randomTensors(config), config);
    const { manifest, result } = await split(unnamed);
    expect(manifest.tokenizer).toEqual({ sentinels: 125 });
    expect(result.warnings).toEqual([]);
  });

  it("leaves unknown tensors out with a warning, and known leftovers without one", async () => {
    const tensors = randomTensors();
    const extra = float32([2], new Float32Array(2));
    const dir = await writeCheckpoint(
      new Map(tensors).set("classifier.bias", extra).set("encoder.embed_tokens.weight", tensors.get(EMBEDDING)!),
    );
    const { result } = await split(dir);
    expect(result.warnings).toEqual([
      "tensor classifier.bias is not part of T5 and was left out",
      "no tokenizer.json: the package takes token ids, not text",
    ]);
  });

  it("reports progress up to the last byte", async () => {
    const seen: { tensor: string; bytesDone: number; bytesTotal: number }[] = [];
    const { result } = await split(GOLDEN, { onProgress: (progress) => seen.push(progress) });
    expect(seen.map((progress) => progress.tensor)).toEqual(Object.keys(result.manifest.tensors));
    expect(seen.at(-1)).toMatchObject({ bytesDone: 741_376, bytesTotal: 741_376 });
    expect(result).toMatchObject({ parameters: 741_376 / 4, sourceBytes: 741_376 });
  });
});

describe("a bad checkpoint names what is wrong and leaves no manifest", () => {
  const q = "decoder.block.0.layer.1.EncDecAttention.q.weight";
  const without = (name: string) => {
    const tensors = randomTensors();
    tensors.delete(name);
    return writeCheckpoint(tensors);
  };
  const written = async (file: string, text: string) => {
    const dir = await writeCheckpoint();
    await writeFile(join(dir, file), text);
    return dir;
  };
  const removed = async (make: () => Promise<string>, file: string) => {
    const dir = await make();
    await rm(join(dir, file));
    return dir;
  };
  const asInt8 = (name: string): Promise<string> => {
    const { shape, bytes } = randomTensors().get(name)!;
    return writeCheckpoint(
      randomTensors().set(name, { dtype: "I8", shape, bytes: bytes.subarray(0, bytes.length / 4) }),
    );
  };
  const valued = (name: string, at: number, value: number) =>
    writeCheckpoint(
      change(randomTensors(), name, (values) => {
        values[at] = value;
      }),
    );

  it.each<[string, () => Promise<string>, string, RegExp]>([
    ["no directory", async () => "/no/such/checkpoint", "E_CHECKPOINT_NOT_FOUND", /\/no\/such\/checkpoint/],
    ["no config.json", () => removed(writeCheckpoint, "config.json"), "E_CHECKPOINT_NOT_FOUND", /config\.json/],
    ["no weights", () => removed(writeCheckpoint, "model.safetensors"), "E_CHECKPOINT_NOT_FOUND", /model\.safetensors/],
    ["config.json not JSON", () => written("config.json", "{"), "E_CONFIG", /config\.json is not JSON/],
    ["a field missing", () => written("config.json", '{"model_type":"t5"}'), "E_CONFIG", /vocab_size/],
    ["not a T5", () => written("config.json", '{"model_type":"bert"}'), "E_ARCHITECTURE", /"bert"/],
    ["generation_config.json a list", () => written("generation_config.json", "[]"), "E_CONFIG", /generation_config/],
    ["tokenizer.json cut", () => written("tokenizer.json", '{"model"'), "E_TOKENIZER", /tokenizer\.json/],
    ["tokenizer.json of something else", () => written("tokenizer.json", '{"a":1}'), "E_TOKENIZER", /is no tokenizer/],
    [
      "more layers than can be",
      () => writeCheckpoint(randomTensors(), { ...TINY_CONFIG, num_layers: 1e9 }),
      "E_CONFIG",
      /num_layers/,
    ],
    ["a tensor missing", () => without(q), "E_TENSOR_MISSING", new RegExp(q)],
    ["no embedding", () => without(EMBEDDING), "E_TENSOR_MISSING", /shared\.weight/],
    [
      "a wrong shape",
      () => writeCheckpoint(randomTensors(), { ...TINY_CONFIG, d_ff: 24 }),
      "E_TENSOR_SHAPE",
      /wi\.weight has shape \[20, 12\], config\.json asks for \[24, 12\]/,
    ],
    ["a wrong dtype", () => asInt8(q), "E_TENSOR_DTYPE", new RegExp(`${q} is I8`)],
    [
      "a NaN in a linear weight",
      () => valued(q, 12 * 3 + 1, Number.NaN),
      "E_TENSOR_VALUE",
      new RegExp(`${q} holds NaN in row 3`),
    ],
    [
      "an infinity in a norm",
      () => valued("decoder.final_layer_norm.weight", 5, Infinity),
      "E_TENSOR_VALUE",
      /final_layer_norm\.weight holds Infinity/,
    ],
    [
      "a part missing",
      () => removed(() => writeParts(randomTensors()), "model-00002-of-00002.safetensors"),
      "E_CHECKPOINT_NOT_FOUND",
      /model-00002-of-00002\.safetensors is missing: .* holds tensor /,
    ],
    [
      "a part that leads elsewhere",
      async () => {
        const dir = await removed(writeCheckpoint, "model.safetensors");
        await writeFile(
          join(dir, "model.safetensors.index.json"),
          '{"weight_map":{"shared.weight":"../model.safetensors"}}',
        );
        return dir;
      },
      "E_SAFETENSORS",
      /shared\.weight lies in "\.\.\/model\.safetensors"/,
    ],
    [
      "a part without its tensor",
      async () => {
        const dir = await writeParts(randomTensors());
        const path = join(dir, "model.safetensors.index.json");
        await writeFile(path, (await readFile(path, "utf8")).replace(q, "decoder.other"));
        return dir;
      },
      "E_TENSOR_MISSING",
      /does not hold tensor decoder\.other/,
    ],
    [
      "an index without a map",
      async () => {
        const dir = await removed(writeCheckpoint, "model.safetensors");
        await writeFile(join(dir, "model.safetensors.index.json"), "{}");
        return dir;
      },
      "E_SAFETENSORS",
      /weight_map/,
    ],
  ])("%s", async (_, make, code, message) => {
    const dir = await make();
    const out = await temporaryFolder();
    await expect(splitCheckpoint(dir, out, { bits: 8 })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    expect(await readdir(out, { recursive: true })).toSatisfy((names: string[]) =>
      names.every((name) => name === "blobs"),
    );
  });

  it("the package that was there before stays whole", async () => {
    const { out, manifest } = await split(await writeCheckpoint());
    const bad = await valued(q, 0, Number.NaN);
    await expect(splitCheckpoint(bad, out, { bits: 32 })).rejects.toMatchObject({ code: "E_TENSOR_VALUE" });
    const store = new FolderStore(out);
    expect(await readManifest(store)).toEqual(manifest);
    expect((await inspectPackage(store, { verify: true })).blobs.every((blob) => blob.state === "ok")).toBe(true);
  });
});

it.each(["", " ", "../up", "a/b", "ä", "a".repeat(65)])(
  "a model that is called %j is refused before any work",
  async (name) => {
    await expect(splitCheckpoint(GOLDEN, "/no/such/out", { name })).rejects.toMatchObject({
      code: "E_USAGE",
      message: expect.stringContaining("--name"),
    });
  },
);

describe("splitting again into the same folder", () => {
  it("mends blobs that were damaged, cut or lost", async () => {
    const { out, manifest } = await split(GOLDEN);
    const [embedding, encoder, decoder] = Object.keys(manifest.blobs).map((hash) => join(out, blobKey(hash)));
    const bytes = await readFile(embedding!);
    bytes[100]! ^= 1;
    await writeFile(embedding!, bytes);
    await writeFile(encoder!, "");
    await rm(decoder!);
    const damaged = await inspectPackage(new FolderStore(out), { verify: true });
    expect(damaged.blobs.map((blob) => blob.state)).toEqual(["corrupt", "corrupt", "missing", "ok", "ok", "ok"]);
    await splitCheckpoint(GOLDEN, out, { bits: 8, name: "m" });
    const mended = await inspectPackage(new FolderStore(out), { verify: true });
    expect(mended.blobs.map((blob) => blob.state)).toEqual(Array(6).fill("ok"));
  });

  it("replaces the package; inspect counts what the earlier one left", async () => {
    const { out, result } = await split(GOLDEN, { bits: 32 });
    await splitCheckpoint(GOLDEN, out, { bits: 8 });
    const inspection = await inspectPackage(new FolderStore(out), { verify: true });
    expect(inspection.bits).toBe(8);
    expect(inspection.unreferenced).toEqual({ blobs: 6, bytes: result.packageBytes });
  });
});

describe("aborting", () => {
  it("removes temporary files, writes no manifest, and throws the signal's reason", async () => {
    const out = await temporaryFolder();
    const controller = new AbortController();
    const onProgress = ({ tensor }: { tensor: string }) => {
      if (tensor === "encoder.final_layer_norm.weight") controller.abort(new Error("enough"));
    };
    const running = splitCheckpoint(GOLDEN, out, { bits: 8, signal: controller.signal, onProgress });
    await expect(running).rejects.toThrow("enough");
    expect(await readdir(out)).toEqual(["blobs"]);
    expect(await readdir(join(out, "blobs"))).toEqual([]);
  });
});

it("names the model after the directory, whatever way it is written", async () => {
  const dir = await writeCheckpoint();
  const out = await temporaryFolder();
  expect((await splitCheckpoint(`${dir}/../${basename(dir)}/`, out, { bits: 8 })).manifest.name).toBe(basename(dir));
});
