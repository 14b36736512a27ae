/** What is read of an adapter in PEFT's format, and what is refused of one, by name. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { FolderStore } from "../../src/store/folder.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS, MAX_ADAPTER_BYTES, parseAdapter, readAdapter } from "../../src/t5/adapter.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { loraModules } from "../../src/training/lora.ts";
import { type LoraOptions, loraConfig, loraFiles, loraTensors } from "../engines/lora.ts";
import { TINY } from "../engines/tiny.ts";
import { cutTo } from "../model-split/checkpoints.ts";
import { float32, type RawTensors, safetensors } from "../model-split/raw-tensors.ts";

const BASE = parseHuggingFaceConfig(TINY);
const GATED = { ...TINY, feed_forward_proj: "gated-gelu" };
const ADAPTERS = fileURLToPath(new URL("../fixtures/adapters/", import.meta.url));
const DEFAULT = fileURLToPath(new URL("../../model-split/default", import.meta.url));
const Q = "encoder.block.0.layer.0.SelfAttention.q";

/** An adapter of q and v whose tensors `change` was made to. */
function changed(change: (tensors: RawTensors) => void, options: LoraOptions = {}) {
  const tensors = loraTensors(TINY, { modules: /\.[qv]$/, ...options });
  change(tensors);
  return { config: loraConfig(options), tensors: safetensors(tensors) };
}

const withField = (fields: object) => ({ ...changed(() => {}, { fields }) });

describe("PEFT's own files", () => {
  test.each([
    ["sentiment", ["q", "v"], 8, 2],
    ["everywhere", ["q", "k", "v", "o", "wi", "wo"], 4, 4],
  ])("%s: every pair, with its scale", async (name, targetModules, rank, scale) => {
    const { model } = await readManifest(new FolderStore(DEFAULT));
    const { modules } = parseAdapter(await readAdapter(new FolderStore(ADAPTERS + name)), model);
    expect([...modules.keys()].sort()).toEqual(
      loraModules(model, { rank, targetModules })
        .map(({ weight }) => weight)
        .sort(),
    );
    for (const module of modules.values()) {
      expect(module).toMatchObject({ rank, scale });
      expect(module.a).toHaveLength(rank * module.in);
      expect(module.b).toHaveLength(module.out * rank);
    }
  });

  test("a missing file is named", async () => {
    const store = new MemoryStore("bucket");
    await expect(readAdapter(store)).rejects.toMatchObject({
      code: "E_ADAPTER_NOT_FOUND",
      status: 503,
      message: expect.stringContaining("bucket has no adapter_"),
    });
    await store.put(ADAPTER_TENSORS, new Uint8Array(8));
    await store.put(ADAPTER_CONFIG, new TextEncoder().encode("{"));
    await expect(readAdapter(store)).rejects.toMatchObject({
      code: "E_ADAPTER",
      message: expect.stringMatching(/adapter_config\.json is not JSON/),
    });
  });

  test("reading ends at the limit, whatever is behind it", async () => {
    let pulled = 0;
    const endless = {
      description: "bucket",
      get: async () =>
        new ReadableStream<Uint8Array>({
          pull(controller) {
            pulled += 1 << 20;
            controller.enqueue(new Uint8Array(1 << 20));
          },
        }),
    };
    await expect(readAdapter(endless)).rejects.toMatchObject({ code: "E_ADAPTER" });
    expect(pulled).toBeLessThan(3 * MAX_ADAPTER_BYTES);
  });
});

describe("what is read", () => {
  test("names with and without PEFT's wrapping and the adapter's own name", () => {
    const plain = parseAdapter(loraFiles(TINY), BASE);
    const tensors: RawTensors = new Map();
    for (const [name, tensor] of loraTensors(TINY)) {
      tensors.set(name.replace("base_model.model.", "").replace(".weight", ".default.weight"), tensor);
    }
    expect(parseAdapter({ config: loraConfig(), tensors: safetensors(tensors) }, BASE)).toEqual(plain);
  });

  test.each(["BF16", "F16"] as const)("%s tensors", (dtype) => {
    const { short, float32: wide } = cutTo(dtype, loraTensors(TINY, { modules: /\.[qv]$/ }));
    const read = (tensors: RawTensors) => parseAdapter({ config: loraConfig(), tensors: safetensors(tensors) }, BASE);
    expect(read(short)).toEqual(read(wide));
  });

  test("tensors at any offset: what is before them need not be a multiple of four", () => {
    const { config, tensors } = loraFiles(TINY);
    const shifted = new Uint8Array(tensors.length + 1);
    shifted.set(tensors, 1);
    expect(parseAdapter({ config, tensors: shifted.subarray(1) }, BASE)).toEqual(
      parseAdapter({ config, tensors }, BASE),
    );
  });

  test("alpha over the rank, or with use_rslora over its root; patterns name ranks and alphas of their own", () => {
    const scale = (fields: object) => parseAdapter(withField(fields), BASE).modules.get(`${Q}.weight`)?.scale;
    expect(scale({ lora_alpha: 12 })).toBe(4);
    expect(scale({ lora_alpha: 12, use_rslora: true })).toBeCloseTo(12 / Math.sqrt(3), 12);
    expect(scale({ alpha_pattern: { "SelfAttention.q": 6 } })).toBe(2);
    expect(scale({ alpha_pattern: { "encoder\\.block\\.[0-9]+\\.layer\\.0\\..*q": 9, q: 6 } })).toBe(3);
    expect(scale({ alpha_pattern: { Attention: 6, v: 6 } })).toBe(1);
    // As if one module had been trained with another rank than the rest.
    const { modules } = parseAdapter(
      changed(
        (tensors) => {
          tensors.set(`base_model.model.${Q}.lora_A.weight`, float32([2, 48], new Float32Array(96).fill(1)));
          tensors.set(`base_model.model.${Q}.lora_B.weight`, float32([40, 2], new Float32Array(80).fill(1)));
        },
        { fields: { rank_pattern: { "encoder.block.0.layer.0.SelfAttention.q": 2 }, lora_alpha: 6 } },
      ),
      BASE,
    );
    expect(modules.get(`${Q}.weight`)).toMatchObject({ rank: 2, scale: 3 });
    expect(modules.get(`${Q.replace("0.layer", "1.layer")}.weight`)).toMatchObject({ rank: 3, scale: 2 });
  });
});

describe("is refused, with what, why and how to mend it:", () => {
  const tooLarge = new Uint8Array(MAX_ADAPTER_BYTES + 1);
  const without = (half: string) => changed((tensors) => tensors.delete(`base_model.model.${Q}.lora_${half}.weight`));
  const extra = (name: string, shape = [3, 48]) =>
    changed((tensors) => {
      tensors.set(name, float32(shape, new Float32Array(shape.reduce((a, b) => a * b, 1))));
    });
  test.each([
    ["no configuration", { ...loraFiles(TINY), config: null }, /not a JSON object/],
    ["another kind of adapter", withField({ peft_type: "IA3" }), /peft_type is "IA3".*Only "LORA"/],
    ["DoRA", withField({ use_dora: true }), /use_dora is true.*Train with use_dora false/],
    ["trained biases", withField({ bias: "lora_only" }), /bias is "lora_only".*Train with bias "none"/],
    ["biases of B", withField({ lora_bias: true }), /lora_bias/],
    ["whole modules", withField({ modules_to_save: ["lm_head"] }), /modules_to_save is \["lm_head"\]/],
    ["turned weights", withField({ fan_in_fan_out: true }), /fan_in_fan_out/],
    ["trained tokens", withField({ trainable_token_indices: [1, 2] }), /trainable_token_indices/],
    ["bare parameters", withField({ target_parameters: ["shared.weight"] }), /target_parameters/],
    ["doubled layers", withField({ layer_replication: [[0, 1]] }), /layer_replication/],
    ["no rank", withField({ r: undefined }), /adapter_config\.json: r:/],
    ["a rank of zero", withField({ r: 0 }), /adapter_config\.json: r:/],
    ["no alpha", withField({ lora_alpha: "16" }), /lora_alpha/],
    ["a pattern that never ends to match", withField({ rank_pattern: { "(.+)+q": 3 } }), /rank_pattern.*too involved/],
    ["a pattern that is none", withField({ alpha_pattern: { "q(": 3 } }), /alpha_pattern.*no regular expression/],
    ["a damaged file", { config: loraConfig(), tensors: new Uint8Array(20) }, /truncated or damaged/],
    ["one cut short", { ...loraFiles(TINY), tensors: loraFiles(TINY).tensors.slice(0, -4) }, /truncated or damaged/],
    ["one that is too large", { config: loraConfig(), tensors: tooLarge }, /more than 67108864 bytes/],
    ["an empty one", { config: loraConfig(), tensors: safetensors(new Map()) }, /holds no LoRA tensor/],
    ["B without A", without("A"), /SelfAttention\.q has lora_B without lora_A/],
    ["A without B", without("B"), /SelfAttention\.q has lora_A without lora_B/],
    ["both names of one", extra(`${Q}.lora_A.weight`), /SelfAttention\.q has lora_A twice/],
    ["an embedding", extra("base_model.model.shared.lora_embedding_A", [3, 67]), /changes an embedding/],
    ["DoRA's magnitudes", extra(`base_model.model.${Q}.lora_magnitude_vector`, [40]), /belongs to DoRA/],
    ["a bias", extra("base_model.model.decoder.block.0.layer.0.SelfAttention.q.bias", [40]), /is a bias/],
    ["a whole weight", extra("base_model.model.lm_head.weight", [67, 48]), /is no lora_A or lora_B weight/],
    ["the head", extra("base_model.model.lm_head.lora_A.weight"), /lm_head takes no adapter here/],
    ["a shared embedding", extra("base_model.model.shared.lora_A.weight"), /shared takes no adapter here/],
    [
      "a layer beyond the model's",
      extra(`base_model.model.${Q.replace("block.0", "block.2")}.lora_A.weight`),
      /of layer 2, but the base's encoder has 2/,
    ],
    [
      "another feed-forward",
      loraFiles(GATED, { modules: /wi_0$/ }),
      /no linear layer encoder\.block\.0\.layer\.1\.DenseReluDense\.wi_0 \(its feed-forward is relu\)/,
    ],
    ["an unknown module", extra("base_model.model.encoder.block.0.adapter.lora_A.weight"), /has no linear layer/],
    ["another model's width", loraFiles({ ...TINY, d_model: 64 }), /lora_A\.weight is \[3, 64\].*\[3, 48\]/],
    [
      "another rank than configured",
      { ...loraFiles(TINY), config: loraConfig({ rank: 4 }) },
      /is \[3, 48\].*\[4, 48\]/,
    ],
    [
      "ranks of a pair that differ",
      changed((tensors) => {
        tensors.set(`base_model.model.${Q}.lora_B.weight`, float32([40, 2], new Float32Array(80)));
      }),
      /lora_B\.weight is \[40, 2\].*\[40, 3\]/,
    ],
    [
      "numbers that are none",
      changed((tensors) => {
        tensors.set(`base_model.model.${Q}.lora_B.weight`, float32([40, 3], new Float32Array(120).fill(Number.NaN, 7)));
      }),
      /lora_B\.weight holds NaN at 7/,
    ],
    [
      "whole numbers",
      changed((tensors) => {
        tensors.set(`base_model.model.${Q}.lora_B.weight`, {
          dtype: "I32",
          shape: [40, 3],
          bytes: new Uint8Array(480),
        });
      }),
      /has dtype I32.*F32, F16 or BF16/,
    ],
  ])("%s", (_, files, message) => {
    expect(() => parseAdapter(files, BASE, "acme/shout")).toThrow(
      expect.objectContaining({ code: "E_ADAPTER", status: 400, message: expect.stringMatching(message) }),
    );
    expect(() => parseAdapter(files, BASE, "acme/shout")).toThrow(/^acme\/shout: adapter_/);
  });
});

test("what PEFT wrote is not changed by reading it", async () => {
  const path = `${ADAPTERS}sentiment/${ADAPTER_TENSORS}`;
  const tensors = new Uint8Array(await readFile(path));
  const before = tensors.slice();
  const { model } = await readManifest(new FolderStore(DEFAULT));
  const config = JSON.parse(await readFile(`${ADAPTERS}sentiment/${ADAPTER_CONFIG}`, "utf8"));
  parseAdapter({ config, tensors }, model);
  expect(tensors).toEqual(before);
});
