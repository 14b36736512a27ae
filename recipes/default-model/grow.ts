/**
 * `node recipes/default-model/grow.ts FROM TOKENIZER OUT [--encoder 6] [--decoder 3]`: a deeper checkpoint with another
 * vocabulary that begins nearly where FROM ended. A new layer is a copy of the one before it whose outputs are scaled
 * down, so that it changes little at first (progressive stacking: Gong et al. 2019); a new piece's embedding is the mean
 * of what the old vocabulary cuts it into.
 */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { writeSafetensors } from "../../model-split/safetensors-writer.ts";
import { EMBEDDING, tensorsOf } from "../../src/t5/architecture.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { type Tokenizer, tokenizerFrom } from "../../src/t5/tokenizer.ts";
import { loadModel } from "../../src/training/checkpoint.ts";
import { randomBits } from "../../src/training/random.ts";

/** Scale of a copied layer's outputs. */
const QUIET = 0.3;
const SPECIALS = 3;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { encoder: { type: "string", default: "6" }, decoder: { type: "string", default: "3" } },
});
const [from, tokenizerDir, out] = positionals;
if (!from || !tokenizerDir || !out) throw new Error("Give a checkpoint, a tokenizer's folder and a folder to write.");

const old = await loadModel(from);
const [oldPieces, newPieces] = [await tokenizerOf(from), await tokenizerOf(tokenizerDir)];
const size = (JSON.parse(await readFile(join(tokenizerDir, "tokenizer.json"), "utf8")) as Vocabulary).model.vocab
  .length;
const settings = {
  ...(JSON.parse(await readFile(join(from, "config.json"), "utf8")) as object),
  vocab_size: size,
  num_layers: Number(values.encoder),
  num_decoder_layers: Number(values.decoder),
};
const config = parseHuggingFaceConfig(settings);
const layers = {
  encoder: sourceOf(old.config.numLayers, config.numLayers),
  decoder: sourceOf(old.config.numDecoderLayers, config.numDecoderLayers),
};

const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
for (const { name, shape } of tensorsOf(config, old.tiedHead)) {
  tensors.set(name, { shape, values: name === EMBEDDING ? embedding() : layerTensor(name) });
}
await mkdir(out, { recursive: true });
await writeFile(join(out, "config.json"), `${JSON.stringify(settings, null, 2)}\n`);
for (const file of ["tokenizer.json", "tokenizer_config.json"]) await cp(join(tokenizerDir, file), join(out, file));
await writeSafetensors(join(out, "model.safetensors"), tensors);

interface Vocabulary {
  model: { vocab: unknown[] };
}

async function tokenizerOf(dir: string): Promise<Tokenizer> {
  const [definition, tokenizerConfig] = await Promise.all(
    ["tokenizer.json", "tokenizer_config.json"].map((file) => readFile(join(dir, file), "utf8")),
  );
  return tokenizerFrom(definition as string, tokenizerConfig as string, dir);
}

/** The layer that each of `to` layers comes from, and whether it is the copy. The later layers are doubled. */
function sourceOf(have: number, to: number): { layer: number; isCopy: boolean }[] {
  const copies = to - have;
  if (copies < 0 || copies > have) throw new Error(`${have} layers become ${have} to ${2 * have}, not ${to}.`);
  return Array.from({ length: have }, (_, layer) => {
    // Copies spread over the stack.
    const isDoubled = Math.floor(((layer + 1) * copies) / have) > Math.floor((layer * copies) / have);
    return isDoubled
      ? [
          { layer, isCopy: false },
          { layer, isCopy: true },
        ]
      : [{ layer, isCopy: false }];
  }).flat();
}

function layerTensor(name: string): Float32Array {
  const match = /^(encoder|decoder)\.block\.(\d+)\.(.*)$/.exec(name);
  if (!match) return old.weights.get(name)!;
  const [, stack, layer, rest] = match as unknown as [string, "encoder" | "decoder", string, string];
  const source = layers[stack][Number(layer)]!;
  const values = old.weights.get(`${stack}.block.${source.layer}.${rest}`)!;
  const isOutput = /\.(o|wo)\.weight$/.test(rest);
  return source.isCopy && isOutput ? values.map((value) => value * QUIET) : values;
}

function embedding(): Float32Array {
  const { dModel } = config;
  const rows = old.weights.get(EMBEDDING)!;
  const rowOf = (id: number) => rows.subarray(id * dModel, (id + 1) * dModel);
  const idOf = new Map(Array.from({ length: old.config.vocabSize }, (_, id) => [oldPieces.nameOf(id), id]));
  const values = new Float32Array(size * dModel);
  const bits = randomBits(0);
  for (let id = 0; id < size; id++) {
    const name = newPieces.nameOf(id);
    const same = idOf.get(name);
    const row = values.subarray(id * dModel, (id + 1) * dModel);
    if (same !== undefined || id < SPECIALS) {
      row.set(rowOf(same ?? id));
      continue;
    }
    // Without the eos, and what the old vocabulary has no piece for.
    const parts = oldPieces
      .encode(name.trim())
      .slice(0, -1)
      .filter((part) => part >= SPECIALS);
    for (const part of parts) for (const [i, value] of rowOf(part).entries()) row[i]! += value / parts.length;
    if (parts.length === 0) for (let i = 0; i < dModel; i++) row[i] = bits() / 2 ** 31 - 1;
  }
  return values;
}
