/** What the bench's checkpoints are said to be. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { SafetensorsFile } from "../../model-split/safetensors.ts";
import { T5_SMALL, TRAINED_RELU_SHIFT, writeRandomCheckpoint } from "./checkpoint.ts";

const D_MODEL = 128;
const VOCABULARY = 64;
const CONFIG = {
  ...T5_SMALL,
  vocab_size: VOCABULARY,
  d_model: D_MODEL,
  d_ff: 1024,
  num_layers: 1,
  num_decoder_layers: 1,
};

test.each([
  ["half of relu's units", 0, 0.45, 0.55],
  ["as few of relu's units as trained models", TRAINED_RELU_SHIFT, 0.08, 0.18],
])("leaves %s", async (_, shift, least, most) => {
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-checkpoint-"));
  try {
    await writeRandomCheckpoint(dir, CONFIG, 1, shift);
    const file = await SafetensorsFile.open(join(dir, "model.safetensors"));
    const tensor = async (name: string) => {
      const parts: Float32Array[] = [];
      for await (const rows of file.rows(name)) parts.push(rows.slice());
      return Float32Array.from(parts.flatMap((rows) => [...rows]));
    };
    const embeddings = await tensor("shared.weight");
    const weights = await tensor("decoder.block.0.layer.2.DenseReluDense.wi.weight");
    const norm = await tensor("decoder.block.0.layer.2.layer_norm.weight");
    await file.close();
    let above = 0;
    const units = weights.length / D_MODEL;
    for (let token = 0; token < VOCABULARY; token++) {
      for (let unit = 0; unit < units; unit++) {
        let dot = 0;
        for (let i = 0; i < D_MODEL; i++) {
          dot += (embeddings[token * D_MODEL + i] ?? 0) * (norm[i] ?? 0) * (weights[unit * D_MODEL + i] ?? 0);
        }
        if (dot > 0) above++;
      }
    }
    const share = above / (units * VOCABULARY);
    expect(share).toBeGreaterThan(least);
    expect(share).toBeLessThan(most);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
