/** A model with a vocabulary of letters, and rows for it: small enough to train within a test. */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { t5TokenizerJson } from "../../src/t5/tokenizer-json.ts";
import { randomBits } from "../../src/training/random.ts";
import { writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";

const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"];
const PIECES = ["<pad>", "</s>", "<unk>", "▁", ...LETTERS.map((letter) => `▁${letter}`), ...LETTERS];
const SENTINELS = 20;

export const CONFIG = {
  model_type: "t5",
  vocab_size: PIECES.length + SENTINELS,
  d_model: 32,
  d_kv: 8,
  d_ff: 64,
  num_heads: 4,
  num_layers: 1,
  num_decoder_layers: 1,
  tie_word_embeddings: true,
};

export async function writeTokenizer(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  const pieces = PIECES.map((piece, i) => ({ piece, score: piece === "▁" ? -9 : -1 - i / 100 }));
  const vocabulary = { pieces, endId: 1, unknownId: 2, sentinels: SENTINELS, normalizer: null, byteFallback: false };
  await writeFile(join(dir, "tokenizer.json"), JSON.stringify(t5TokenizerJson(vocabulary)));
  await writeFile(join(dir, "tokenizer_config.json"), JSON.stringify({ tokenizer_class: "T5Tokenizer" }));
}

/** A folder of one's own with a checkpoint in it. */
export async function tinyBase(seed = 1): Promise<string> {
  const dir = join(await temporaryFolder(), "tiny");
  await writeRandomCheckpoint(dir, CONFIG, seed);
  await writeTokenizer(dir);
  return dir;
}

/** Letters, and as the target the first one of them. */
export function rows(count: number, seed = 7): { input: string; target: string }[] {
  return Array.from({ length: count }, (_, i) => {
    const bits = randomBits(seed, i);
    const letters = Array.from({ length: 2 + (bits() % 5) }, () => LETTERS[bits() % 4] as string);
    return { input: letters.join(" "), target: letters[0] as string };
  });
}

export async function writeRows(path: string, list: readonly object[]): Promise<string> {
  await writeFile(path, list.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return path;
}

/** What a run came to, but for the time that it took: files of a folder, metrics, best step. */
export async function outcomeOf(run: string, step: number) {
  const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n");
  const metrics = lines.map((line) => ({ ...JSON.parse(line), tokens_per_second: 0 }));
  const last = join(run, "checkpoints", `step-${String(step).padStart(8, "0")}`);
  return {
    metrics,
    last: await filesOf(last),
    best: await filesOf(join(run, "best")),
    names: (await readdir(run)).sort(),
  };
}

export async function filesOf(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  const read = async (name: string) => [name, (await readFile(join(folder, name))).toString("base64")];
  return Object.fromEntries(await Promise.all(names.map(read)));
}
