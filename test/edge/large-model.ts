/** The packaged model, made too large for a Worker: in float32, with feed-forward units that do nothing. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { dequantize } from "../../model-split/dequantize.ts";
import { splitCheckpoint } from "../../model-split/index.ts";
import { writeSafetensors } from "../../model-split/safetensors-writer.ts";
import { DEFAULT_PACKAGE, FolderStore } from "../../src/index.ts";
import { tensorsOf } from "../../src/t5/architecture.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { loadModel } from "../../src/training/checkpoint.ts";

/** Of the encoder's feed-forward alone; a Worker has 94 MB. */
const BYTES = 120e6;

/** Writes its package to `folder`. */
export async function makeLargeModel(folder: string, name: string): Promise<void> {
  const checkpoint = `${folder}-checkpoint`;
  const packaged = new FolderStore(DEFAULT_PACKAGE);
  await dequantize(await readManifest(packaged), packaged, checkpoint);
  const { config, tiedHead, weights } = await loadModel(checkpoint);
  const dFf = Math.ceil(BYTES / (4 * 2 * config.dModel * config.numLayers));
  const tensors = tensorsOf({ ...config, dFf }, tiedHead).map(({ name: tensor, shape }) => {
    const [rows = 1, columns = 1] = shape;
    const before = weights.get(tensor) ?? new Float32Array();
    const values = new Float32Array(rows * columns);
    // Rows of zeros behind its own, or zeros behind each of its rows.
    const width = tensor.endsWith(".wo.weight") ? config.dFf : columns;
    for (let row = 0; row * width < before.length; row++) {
      values.set(before.subarray(row * width, (row + 1) * width), row * columns);
    }
    return [tensor, { shape, values }] as const;
  });
  const path = join(checkpoint, "config.json");
  const json = JSON.parse(await readFile(path, "utf8")) as object;
  await writeFile(path, JSON.stringify({ ...json, d_ff: dFf }));
  await rm(join(checkpoint, "model.safetensors"));
  await writeSafetensors(join(checkpoint, "model.safetensors"), new Map(tensors));
  await splitCheckpoint(checkpoint, folder, { name, bits: 32 });
}
