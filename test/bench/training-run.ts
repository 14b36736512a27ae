/** One training step of our own, as training-peer.py has it of PyTorch: `training-run.ts SUBJECT.json`, one JSON line out. */
import { readFile } from "node:fs/promises";
import { tensorsOf } from "../../src/t5/architecture.ts";
import { parseHuggingFaceConfig, type T5Config } from "../../src/t5/config.ts";
import { collate } from "../../src/training/batch.ts";
import { Learner } from "../../src/training/learner.ts";
import { randomBits } from "../../src/training/random.ts";
import type { TrainingSubject } from "./training.ts";

const subject = JSON.parse(await readFile(process.argv[2] ?? "", "utf8")) as TrainingSubject;
const config = parseHuggingFaceConfig({ model_type: "t5", ...subject.config });
const bits = randomBits(1);
const ids = (count: number) => Int32Array.from({ length: count }, () => 2 + (bits() % (config.vocabSize - 2)));
const batch = collate(
  Array.from({ length: subject.rows }, () => ({ input: ids(subject.inputTokens), target: ids(subject.targetTokens) })),
  config,
);
const learner = await Learner.open(config, randomWeights(config), {
  tiedHead: true,
  optimizer: { name: "adamw" },
  threads: subject.threads,
});
const seconds: number[] = [];
for (let round = 0; round < subject.rounds + 2; round++) {
  const started = performance.now();
  await learner.accumulate(batch);
  const passes = performance.now();
  await learner.update({ learningRate: 1e-4, maxGradientNorm: 1 });
  seconds.push((performance.now() - started) / 1000);
  if (process.argv[3] === "--parts")
    console.error(`passes ${(passes - started).toFixed(0)} ms, update ${(performance.now() - passes).toFixed(0)} ms`);
}
await learner.close();
console.log(JSON.stringify({ seconds: seconds.slice(2) }));

/** As T5 begins: each tensor with a deviation by its width. */
function randomWeights({ dModel, dKv, dFf, numHeads, ...rest }: T5Config): Map<string, Float32Array> {
  const deviation = (name: string) => {
    if (name === "shared.weight") return 1;
    if (name.endsWith(".q.weight")) return (dModel * dKv) ** -0.5;
    if (name.endsWith("Attention.o.weight")) return (numHeads * dKv) ** -0.5;
    return name.endsWith(".wo.weight") ? dFf ** -0.5 : dModel ** -0.5;
  };
  return new Map(
    tensorsOf({ dModel, dKv, dFf, numHeads, ...rest }, true).map(({ name, shape, kind }) => {
      const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
      const limit = Math.sqrt(3) * deviation(name);
      return [name, kind === "norm" ? values.fill(1) : values.map(() => (bits() / 2 ** 31 - 1) * limit)];
    }),
  );
}
