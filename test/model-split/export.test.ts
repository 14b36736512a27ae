/** `edge-t5 export --to transformers.js`: what it writes runs in transformers.js, with the kit's own answers. */
import { existsSync } from "node:fs";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  AutoModelForSeq2SeqLM,
  AutoTokenizer,
  env,
  type PreTrainedModel,
  pipeline,
  Tensor,
} from "@huggingface/transformers";
import fc from "fast-check";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { beforeAll, describe, expect, it, test } from "vitest";
import {
  type ExportOptions,
  exportForTransformersJs,
  type SplitOptions,
  splitCheckpoint,
} from "../../model-split/index.ts";
import { onnxEngine } from "../../src/engines/onnx/index.ts";
import { nativeRuntime } from "../../src/engines/onnx/node.ts";
import { type GoldenCase, readExpected } from "../../src/golden/format.ts";
import { DEFAULT_PACKAGE, T5 } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { byteTokenizer } from "../../src/t5/byte-tokenizer.ts";
import { parseHuggingFaceConfig, type T5Config, toHuggingFaceConfig } from "../../src/t5/config.ts";
import { blobKey, readManifest } from "../../src/t5/manifest.ts";
import { edgeT5 } from "../cli/process.ts";
import { readFloat32, temporaryFolder, writeCheckpoint } from "./checkpoints.ts";

const GOLDEN = fileURLToPath(new URL("../golden", import.meta.url));
const SHAPES = ["asymmetric", "buckets", "byt5", "gated-untied", "inner-dim", "mt5", "outliers", "relu-tied"];

beforeAll(() => {
  env.allowRemoteModels = false;
  env.useFSCache = false;
});

/** Exports a package into a folder of its own. */
async function exported(dir: string, options: ExportOptions = {}) {
  const out = join(await temporaryFolder(), "model");
  const result = await exportForTransformersJs(new FolderStore(dir), out, options);
  return { out, result };
}

/** A golden checkpoint as a package. */
async function packaged(shape: string, options: SplitOptions): Promise<string> {
  const dir = await temporaryFolder();
  await splitCheckpoint(join(GOLDEN, shape), dir, options);
  return dir;
}

/** Loads a folder as a user of transformers.js does: by its name in the folder of models. */
async function load(out: string, options: object = {}): Promise<PreTrainedModel> {
  env.localModelPath = dirname(out);
  return AutoModelForSeq2SeqLM.from_pretrained(basename(out), options);
}

function int64(ids: readonly number[]): Tensor {
  return new Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
}

async function answer(model: PreTrainedModel, ids: readonly number[], options: object): Promise<number[]> {
  const inputs = { input_ids: int64(ids), attention_mask: int64(ids.map(() => 1)) };
  const made = (await model.generate({ ...inputs, ...options })) as Tensor;
  return Array.from(made.data as BigInt64Array, Number).slice(1);
}

describe.each(SHAPES)("float32, the shape %s", (shape) => {
  const subject = async () => {
    const { out, result } = await exported(await packaged(shape, { bits: 32 }));
    expect(result.dtype).toBe("fp32");
    const { inputs, cases } = await readExpected(join(GOLDEN, shape));
    return { model: await load(out), inputs, cases: cases.flatMap(({ parsed }) => parsed ?? []) };
  };

  it("answers with Hugging Face's tokens, one step after the other", async () => {
    const { model, inputs, cases } = await subject();
    const greedy = cases.filter((each) => {
      const names = each.kind === "generate" ? Object.keys(each.params) : ["?"];
      return names.every((name) => name === "max_new_tokens" || name === "min_new_tokens");
    }) as (GoldenCase & { kind: "generate" })[];
    expect(greedy.length).toBeGreaterThan(8);
    for (const { input, params, sequences } of greedy) {
      const ids = await answer(model, inputs[input] ?? [], { max_new_tokens: 24, ...params });
      expect(ids).toEqual(sequences[0]?.ids);
    }
  });

  it("gives Hugging Face's logits for several tokens at once", async () => {
    const { model, inputs, cases } = await subject();
    for (const each of cases) {
      if (each.kind !== "logits") continue;
      const ids = inputs[each.input] ?? [];
      const { logits } = await model({
        input_ids: int64(ids),
        attention_mask: int64(ids.map(() => 1)),
        decoder_input_ids: int64(each.decoder_ids),
      });
      const reference = await readFloat32(join(GOLDEN, shape, "expected.safetensors"), `logits.${each.input}`);
      const largest = Math.max(...reference.map(Math.abs));
      expect(logits.data).toHaveLength(reference.length);
      for (const [i, value] of reference.entries()) {
        expect(Math.abs((logits.data as Float32Array)[i]! - value)).toBeLessThan(1e-4 * largest);
      }
    }
  });
});

describe("the packaged default model", () => {
  const prompts = [
    "translate English to German: The house is old.",
    "translate English to French: I am hungry.",
    "classify package: a library for sockets",
    "summarize: The quick brown fox jumps over the lazy dog, which sleeps in the sun and does not mind at all.",
  ];

  it("answers in text2text-generation as the kit does, alone and in a list", async () => {
    const { out, result } = await exported(DEFAULT_PACKAGE);
    expect(result).toMatchObject({ name: "default", dtype: "q8", warnings: [] });
    env.localModelPath = dirname(out);
    const generator = await pipeline("text2text-generation", basename(out));
    const kit = await T5.fromPretrained();
    const texts = (await kit.generate(prompts, { max_new_tokens: 48 })).map(({ text }) => text);
    const together = (await generator(prompts, { max_new_tokens: 48 })) as unknown as { generated_text: string }[];
    expect(together.map(({ generated_text }) => generated_text)).toEqual(texts);
    for (const [i, prompt] of prompts.entries()) {
      const [alone] = await generator(prompt, { max_new_tokens: 48 });
      expect(alone?.generated_text).toBe(texts[i]);
    }
  });

  it("with a scale for all rows it still translates", async () => {
    const { out } = await exported(DEFAULT_PACKAGE, { activations: "matrix" });
    env.localModelPath = dirname(out);
    const generator = await pipeline("text2text-generation", basename(out));
    const [german] = await generator(prompts[0] as string, { max_new_tokens: 48 });
    expect(german?.generated_text).toBe("Das Haus ist alt.");
  });
});

describe("other packages", () => {
  const prompt = [5, 17, 3, 42, 8, 1];
  const options = { max_new_tokens: 12, min_new_tokens: 12 };

  it.each([8, 4] as const)("int%i: the tokens of the kit's own onnx engine", async (bits) => {
    const dir = await packaged("outliers", { bits });
    const manifest = await readManifest(new FolderStore(dir));
    const { encoder, decoder } = await onnxEngine(await nativeRuntime())({
      manifest,
      store: new FolderStore(dir),
      roles: ["encoder", "decoder"],
      limits: { maxInputTokens: 16, maxNewTokens: 16, maxSequences: 1 },
    });
    const sequence = await decoder.open(await encoder.encode(prompt), 16);
    const expected: number[] = [];
    for (let token = manifest.model.decoderStartTokenId; expected.length < 12; expected.push(token)) {
      const logits = (await decoder.step([sequence], [token])).logits(0).slice();
      logits[manifest.model.eosTokenId] = Number.NEGATIVE_INFINITY;
      token = logits.indexOf(Math.max(...logits));
    }
    const { out, result } = await exported(dir);
    expect(result.dtype).toBe(bits === 8 ? "q8" : "q4");
    expect(await answer(await load(out), prompt, options)).toEqual(expected);
  });

  it("a chain of shards becomes one model again", async () => {
    const whole = await exported(await packaged("asymmetric", { bits: 32 }));
    const chained = await packaged("asymmetric", { bits: 32, shardBytes: 270_000 });
    expect((await readManifest(new FolderStore(chained))).shards.length).toBeGreaterThan(2);
    const { out, result } = await exported(chained);
    expect(result.files.map(({ path }) => path)).toEqual(whole.result.files.map(({ path }) => path));
    expect(await answer(await load(out), prompt, options)).toEqual(
      await answer(await load(whole.out), prompt, options),
    );
  });

  it("several precisions of a model share a folder; the last one is the default", async () => {
    const out = join(await temporaryFolder(), "model");
    for (const bits of [32, 8] as const) {
      await exportForTransformersJs(new FolderStore(await packaged("relu-tied", { bits })), out);
    }
    const { "transformers.js_config": settings } = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
    expect(settings).toEqual({
      dtype: "q8",
      use_external_data_format: {
        "encoder_model.onnx": 1,
        "decoder_model_merged.onnx": 1,
        "encoder_model_quantized.onnx": 1,
        "decoder_model_merged_quantized.onnx": 1,
      },
    });
    const float = await load((await exported(await packaged("relu-tied", { bits: 32 }))).out);
    expect(await answer(await load(out, { dtype: "fp32" }), prompt, options)).toEqual(
      await answer(float, prompt, options),
    );
  });

  it("what the past holds does not count where use_cache_branch is false", async () => {
    const { out } = await exported(await packaged("relu-tied", { bits: 32 }));
    const session = await InferenceSession.create(join(out, "onnx/decoder_model_merged.onnx"));
    const { d_model, num_heads, d_kv } = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
    const noise = (shape: number[]) => {
      const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i));
      return new OrtTensor("float32", values, shape);
    };
    const run = async (length: number) => {
      const pasts = session.inputNames.filter((name) => name.startsWith("past_key_values."));
      return session.run({
        input_ids: new OrtTensor("int64", BigInt64Array.of(0n, 7n, 9n), [1, 3]),
        encoder_hidden_states: noise([1, 5, d_model]),
        encoder_attention_mask: new OrtTensor("int64", BigInt64Array.of(1n, 1n, 1n, 1n, 0n), [1, 5]),
        use_cache_branch: new OrtTensor("bool", [false], [1]),
        ...Object.fromEntries(pasts.map((name) => [name, noise([1, num_heads, length, d_kv])])),
      });
    };
    const [none, some] = [await run(0), await run(4)];
    for (const name of session.outputNames) {
      expect(some[name]?.dims).toEqual(none[name]?.dims);
      expect(some[name]?.data).toEqual(none[name]?.data);
    }
  });

  it("a tokenizer without its settings gets those that transformers.js needs", async () => {
    const dir = await temporaryFolder();
    await cp(DEFAULT_PACKAGE, dir, { recursive: true });
    const path = join(dir, "manifest.json");
    const manifest = JSON.parse(await readFile(path, "utf8"));
    manifest.tokenizer.config = null;
    await writeFile(path, JSON.stringify(manifest));
    const { out } = await exported(dir);
    env.localModelPath = dirname(out);
    const tokenizer = await AutoTokenizer.from_pretrained(basename(out));
    expect(tokenizer.pad_token_id).toBe(0);
    expect(tokenizer(["Hello", "Hello, my house"], { padding: true }).input_ids.dims[0]).toBe(2);
  });

  it("a model without a tokenizer: a warning, and no tokenizer files", async () => {
    const { out, result } = await exported(await packaged("relu-tied", { bits: 8 }));
    expect(result.warnings).toEqual([expect.stringContaining("no tokenizer")]);
    expect(await readdir(out)).toEqual(["config.json", "generation_config.json", "onnx"]);
  });
});

describe("configuration", () => {
  const size = fc.integer({ min: 1, max: 64 });
  const config: fc.Arbitrary<T5Config> = fc.record({
    modelType: fc.constantFrom("t5", "mt5"),
    vocabSize: size,
    dModel: size,
    dKv: size,
    numHeads: size,
    dFf: size,
    numLayers: size,
    numDecoderLayers: size,
    feedForward: fc.constantFrom("relu", "gated-gelu", "gated-silu"),
    relativeAttentionNumBuckets: size.map((n) => 4 * n),
    relativeAttentionMaxDistance: size,
    layerNormEpsilon: fc.constantFrom(1e-6, 1e-5),
    scaleDecoderOutputs: fc.boolean(),
    padTokenId: size,
    eosTokenId: size,
    decoderStartTokenId: size,
    nPositions: fc.option(size),
  });

  test("config.json is read back as the package had it", () => {
    fc.assert(
      fc.property(config, fc.boolean(), (model, tied) => {
        const json = JSON.parse(JSON.stringify(toHuggingFaceConfig(model, tied)));
        expect(parseHuggingFaceConfig(json)).toEqual(model);
        expect(json.tie_word_embeddings).toBe(tied);
      }),
    );
  });

  test("generation_config.json is the checkpoint's, with the tokens that generation begins and ends with", async () => {
    const dir = await packaged("relu-tied", { bits: 8 });
    const path = join(dir, "manifest.json");
    const manifest = JSON.parse(await readFile(path, "utf8"));
    await writeFile(path, JSON.stringify({ ...manifest, generation: { max_new_tokens: 7, eos_token_id: [1, 5] } }));
    const { out } = await exported(dir);
    expect(JSON.parse(await readFile(join(out, "generation_config.json"), "utf8"))).toEqual({
      decoder_start_token_id: 0,
      pad_token_id: 0,
      eos_token_id: [1, 5],
      max_new_tokens: 7,
    });
  });
});

test("ByT5's bytes in transformers.js: the kit's tokens for any text, and its text for any tokens", async () => {
  const { out } = await exported(await packaged("byt5", { bits: 8 }));
  env.localModelPath = dirname(out);
  const tokenizer = await AutoTokenizer.from_pretrained(basename(out));
  const own = byteTokenizer(125);
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string({ unit: "grapheme" }),
    fc
      .array(fc.constantFrom("<extra_id_0>", "<extra_id_124>", "ä", "<0x41>", "\n", "日本", " ", "x"))
      .map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(text, (given) => {
      expect(tokenizer.encode(given)).toEqual(own.encode(given));
      const ids = own.encode(given);
      expect(tokenizer.decode(ids, { skip_special_tokens: true })).toBe(own.decode(ids));
    }),
  );
});

describe("kill -9 at any step of an export", () => {
  const preload = new URL("./signal-at-step.ts", import.meta.url);
  const endedAt = (step: number, signal: string, dir: string, out: string) =>
    edgeT5(["export", dir, "--to", "transformers.js", "--out", out, "--json"], {
      preload,
      env: { EDGE_T5_TEST_STEP: String(step), EDGE_T5_TEST_SIGNAL: signal },
    });
  const contents = async (out: string) => {
    const names = await readdir(out, { recursive: true, withFileTypes: true });
    const files = names.filter((entry) => entry.isFile() && !entry.name.endsWith(".tmp"));
    const read = files.map(async ({ parentPath, name }) => [name, await readFile(join(parentPath, name), "base64")]);
    return new Map((await Promise.all(read)) as [string, string][]);
  };

  it("leaves whole files, config.json only with all of them; the next export cleans up", async () => {
    const { out: tiny } = { out: await temporaryFolder() };
    await splitCheckpoint(await writeCheckpoint(), tiny, { name: "m" });
    const whole = await contents((await exported(tiny)).out);
    const out = join(await temporaryFolder(), "out");
    const { stderr } = await endedAt(0, "SIGKILL", tiny, out);
    const count = Number(/steps: (\d+)/.exec(stderr)?.[1]);
    expect(count).toBeGreaterThan(20);
    const old = await packaged("relu-tied", { bits: 8 });
    for (let step = count; step > 0; step -= 3) {
      await rm(out, { recursive: true, force: true });
      await exportForTransformersJs(new FolderStore(old), out);
      const before = await contents(out);
      expect((await endedAt(step, "SIGKILL", tiny, out)).signal).toBe("SIGKILL");
      const left = await contents(out);
      const states = [...left].map(([name, bytes]) =>
        bytes === whole.get(name) ? "new" : bytes === before.get(name) ? "old" : "half",
      );
      expect(states).not.toContain("half");
      if (left.has("config.json")) expect(new Set(states).size).toBe(1);
      await exportForTransformersJs(new FolderStore(tiny), out);
      expect(await contents(out)).toEqual(whole);
      expect((await readdir(out, { recursive: true })).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    }
  });

  it("Ctrl-C removes what was begun, and leaves the export that was there", async () => {
    const dir = await packaged("relu-tied", { bits: 8 });
    const { out } = await exported(dir);
    const before = await contents(out);
    const ended = await endedAt(5, "SIGINT", dir, out);
    expect(ended.code).toBe(130);
    expect(ended.stdout).toBe("");
    expect(ended.stderr).toContain('"code":"E_INTERRUPTED"');
    expect(await contents(out)).toEqual(before);
  });
});

describe("what it refuses", () => {
  const run = (...args: string[]) => edgeT5(["export", ...args]);

  it("says what is wrong with a package", async () => {
    const dir = await packaged("relu-tied", { bits: 8 });
    const out = join(await temporaryFolder(), "out");
    const [hash = ""] = Object.keys((await readManifest(new FolderStore(dir))).blobs);
    const path = join(dir, blobKey(hash));
    const bytes = await readFile(path);
    const attempt = () => exportForTransformersJs(new FolderStore(dir), out);
    await writeFile(path, bytes.with(0, (bytes[0] ?? 0) ^ 1));
    await expect(attempt()).rejects.toMatchObject({ code: "E_BLOB_CORRUPT" });
    await rm(path);
    await expect(attempt()).rejects.toMatchObject({ code: "E_BLOB_MISSING", message: expect.stringContaining(hash) });
    expect(await readdir(out, { recursive: true })).toEqual(["onnx"]);
    await expect(exportForTransformersJs(new FolderStore(out), out)).rejects.toMatchObject({
      code: "E_PACKAGE_NOT_FOUND",
    });
  });

  it("knows one library, and activations of int8 only", async () => {
    const unknown = await run(DEFAULT_PACKAGE, "--to", "ggml", "--out", "x");
    expect(unknown).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/E_USAGE: --to is "ggml".*transformers\.js/),
    });
    const out = join(await temporaryFolder(), "out");
    const float = await packaged("relu-tied", { bits: 32 });
    const matrix = await run(float, "--to", "transformers.js", "--out", out, "--activations", "matrix");
    expect(matrix).toMatchObject({ code: 1, stderr: expect.stringMatching(/E_USAGE: .*float32.*--activations/) });
    expect(existsSync(out)).toBe(false);
  });
});

describe("the command", () => {
  it("lists the files, or prints them as JSON; progress goes to stderr", async () => {
    const out = join(await temporaryFolder(), "out");
    const text = await edgeT5(["export", DEFAULT_PACKAGE, "--to", "transformers.js", "--out", out]);
    expect(text.code).toBe(0);
    expect(text.stdout).toMatch(/FILE +BYTES\nconfig\.json/);
    expect(text.stdout).toMatch(/default: 12\.6 MB in .*q8/);
    expect(text.stderr).toMatch(/100 %/);
    const json = await edgeT5(["export", DEFAULT_PACKAGE, "--to", "transformers.js", "--out", out, "--json"]);
    expect(json.stderr).toBe("");
    const { files, dtype } = JSON.parse(json.stdout);
    expect(dtype).toBe("q8");
    for (const { path, bytes } of files) expect(await readFile(join(out, path))).toHaveLength(bytes);
  });

  it("has help with examples", async () => {
    const { stdout } = await edgeT5(["export", "--help"]);
    expect(stdout).toMatch(/--to.*transformers\.js/s);
    expect(stdout).toMatch(/EXAMPLES\s+edge-t5 export/);
  });
});
