/** Stacks cut into shards of a byte budget. */
import { describe, expect, it } from "vitest";
import { planShards } from "../../model-split/cut.ts";
import { layoutBytes } from "../../model-split/layout.ts";
import { splitCheckpoint } from "../../model-split/split.ts";
import { tensorsOf } from "../../src/t5/architecture.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { parseManifest } from "../../src/t5/manifest.ts";
import { T5_SMALL, writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { TINY_CONFIG, temporaryFolder } from "./checkpoints.ts";

const T5_BASE = { ...T5_SMALL, d_model: 768, d_ff: 3072, num_heads: 12, num_layers: 12, num_decoder_layers: 12 };
const MT5_BASE = { ...T5_BASE, model_type: "mt5", vocab_size: 250112, feed_forward_proj: "gated-gelu" };

function plan(config: object, bits: 4 | 8 | 32, budget?: number, tiedHead = true) {
  const parsed = parseHuggingFaceConfig(config);
  return planShards(tensorsOf(parsed, tiedHead), { config: parsed, tiedHead, bits }, budget).map((shard) => ({
    ...shard,
    bytes: shard.blobs.reduce((sum, { specs }) => sum + layoutBytes(specs, bits), 0),
    blobs: shard.blobs.map(({ specs }) => specs.map(({ name }) => name)),
  }));
}

const rangesOf = (shards: ReturnType<typeof plan>) => shards.map(({ role, layers }) => [role, ...layers]);

describe("what a budget makes of a model", () => {
  it("T5-small is one shard a stack at int8; T5-base one at int4, two at int8", () => {
    expect(rangesOf(plan(T5_SMALL, 8))).toEqual([
      ["encoder", 0, 6],
      ["decoder", 0, 6],
    ]);
    expect(rangesOf(plan(T5_BASE, 4))).toEqual([
      ["encoder", 0, 12],
      ["decoder", 0, 12],
    ]);
    expect(rangesOf(plan(T5_BASE, 8))).toEqual([
      ["encoder", 0, 4],
      ["encoder", 4, 12],
      ["decoder", 0, 6],
      ["decoder", 6, 12],
    ]);
  });

  it("no shard is over it, and none could be left out", () => {
    for (const budget of [40e6, 50e6, 60e6]) {
      const shards = plan(T5_BASE, 8, budget);
      for (const { bytes } of shards) expect(bytes).toBeLessThanOrEqual(budget);
      const fewer = plan(T5_BASE, 8, budget * 2);
      expect(fewer.length).toBeLessThan(shards.length);
    }
  });

  it("every tensor is in exactly one blob; each shard has what its layers need", () => {
    const shards = plan(T5_BASE, 8, 50e6, false);
    const names = [...new Set(shards.flatMap(({ blobs }) => blobs))];
    const all = tensorsOf(parseHuggingFaceConfig(T5_BASE), false).map(({ name }) => name);
    expect([...new Set(names.flat())].sort()).toEqual(all.sort());
    for (const { role, blobs, layers } of shards) {
      const here = blobs.flat();
      expect(here).toContain(`${role}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`);
      expect(here.includes("shared.weight")).toBe(layers[0] === 0);
      expect(here.includes(`${role}.final_layer_norm.weight`)).toBe(layers[1] === 12);
      expect(here.includes("lm_head.weight")).toBe(role === "decoder" && layers[1] === 12);
    }
  });

  it("a tied head brings the embedding to the decoder's last shard", () => {
    const decoder = plan(T5_BASE, 8).filter(({ role }) => role === "decoder");
    expect(decoder.map(({ blobs }) => blobs.flat().includes("shared.weight"))).toEqual([true, true]);
  });

  it("without a budget, a model whose embedding is larger than the default still splits; with one it is refused", () => {
    const shards = plan(MT5_BASE, 8);
    expect(rangesOf(shards).at(-1)).toEqual(["decoder", expect.any(Number), 12]);
    expect(() => plan(MT5_BASE, 8, 84e6)).toThrow(
      expect.objectContaining({ code: "E_USAGE", message: expect.stringContaining("--shard-mb") }),
    );
  });

  it.each([
    ["T5-base", T5_BASE],
    ["mT5-base", MT5_BASE],
    ["a tiny one", TINY_CONFIG],
  ])("of %s, what a refusal asks for is enough for both stacks", (_, config) => {
    let message = "";
    try {
      plan(config, 8, 1000);
    } catch (error) {
      message = (error as Error).message;
    }
    const megabytes = Number(/embedding, ([\d.]+) MB/.exec(message)?.[1]);
    expect(plan(config, 8, megabytes * 1e6).length).toBeGreaterThanOrEqual(2);
  });
});

it("a package of several shards names each blob once, and its manifest is checked for layers that are missing", async () => {
  const checkpoint = await temporaryFolder();
  const config = { ...TINY_CONFIG, num_layers: 3, num_decoder_layers: 4 };
  await writeRandomCheckpoint(checkpoint, config);
  const out = await temporaryFolder();
  const { manifest } = await splitCheckpoint(checkpoint, out, { shardBytes: 4000 });
  expect(manifest.shards.length).toBeGreaterThan(3);
  const blobs = Object.values(manifest.blobs).filter(({ role }) => role === "embedding");
  expect(blobs).toHaveLength(1);
  const shards = manifest.shards.filter((_, i) => i !== 1);
  expect(() => parseManifest(JSON.stringify({ ...manifest, shards }))).toThrow(
    expect.objectContaining({ code: "E_MANIFEST", message: expect.stringContaining("miss layers") }),
  );
});
