/**
 * Trains the two adapters of the default model that the tests use, in PEFT's layout:
 *
 *     node recipes/default-model/adapters.ts CHECKPOINT DATA OUT
 *
 * `sentiment` labels SST-2's sentences (rank 8, on q and v); `everywhere` shouts the German of Tatoeba's English (rank 4, on
 * every linear layer, rank-stabilized). DATA is the folder that mixture.json's files are in; about five minutes on two cores.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { type FitOptions, T5, type TrainingPair } from "../../src/index.ts";
import { ADAPTER_CONFIG } from "../../src/t5/adapter.ts";

const [checkpoint, data, out] = process.argv.slice(2);
if (!checkpoint || !data || !out) throw new Error("Name the checkpoint, the folder of data, and where adapters go.");

const COMMON: FitOptions = { steps: 500, batchTokens: 1024, learningRate: 3e-3, schedule: "linear", holdOut: 0.02 };

/** Tatoeba's lines: English, a tab, the translation. */
async function* shouted(path: string): AsyncGenerator<TrainingPair> {
  for (const line of gunzipSync(await readFile(path))
    .toString("utf8")
    .split("\n")
    .slice(0, 40_000)) {
    const [input, target] = line.split("\t");
    if (input && target) yield { input, target: target.toLocaleUpperCase("de") };
  }
}

async function train(name: string, pairs: string | AsyncIterable<TrainingPair>, options: FitOptions): Promise<void> {
  const run = join(out as string, `${name}-run`);
  const model = await T5.fromPretrained(checkpoint);
  for await (const event of model.fit(pairs, { ...COMMON, ...options, run })) {
    if (event.type === "step" && event.step % 50 === 0) console.log(name, event.step, event.loss.toFixed(3));
  }
  const saved = join(out as string, name);
  await mkdir(saved, { recursive: true });
  await model.save(saved);
  // Where it comes from is this machine's affair: what it is for is the packaged model.
  const config = JSON.parse(await readFile(join(saved, ADAPTER_CONFIG), "utf8")) as object;
  await writeFile(
    join(saved, ADAPTER_CONFIG),
    `${JSON.stringify({ ...config, base_model_name_or_path: "default" }, null, 2)}\n`,
  );
}

await train("sentiment", join(data, "sst2.train.tsv.gz"), {
  template: "sst2 sentence: {input}",
  lora: { rank: 8, alpha: 16 },
});
await train("everywhere", shouted(join(data, "tatoeba.en-de.train.tsv.gz")), {
  template: "shout: {input}",
  lora: { rank: 4, alpha: 8, targetModules: ["q", "k", "v", "o", "wi", "wo"], rslora: true },
});
