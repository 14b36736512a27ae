/** What `npm run quality` measures on all rows, on some of them; and that the measuring itself is right. */
import { beforeAll, describe, expect, test } from "vitest";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { loadTokenizer, type Tokenizer } from "../../src/t5/tokenizer.ts";
import { dequantize } from "./dequantize.ts";
import { type Answerer, agreement, answererOf, METRICS, scoreOf } from "./measure.ts";
import { readReference, TASKS } from "./reference.ts";

/** What sacrebleu and rouge-score made of the checkpoint's answers (../shared/seed-checkpoint/reference/scores.json). */
const CHECKPOINT_SCORES = {
  "translate-de": 29.151,
  "translate-fr": 31.865,
  summarize: 32.382,
  "classify-package": 60,
};

let int8: Answerer;
let float32: Answerer;
let tokenizer: Tokenizer;
beforeAll(async () => {
  const store = new FolderStore(DEFAULT_PACKAGE);
  const manifest = await readManifest(store);
  const kernels = await loadKernels();
  tokenizer = await loadTokenizer(manifest, store);
  int8 = await answererOf(manifest, store, kernels);
  const dequantized = await dequantize(manifest, store);
  float32 = await answererOf(dequantized.manifest, dequantized.store, kernels);
});

describe.each(TASKS)("%s", (task) => {
  const rows = readReference(task);
  const greedy = rows.map((row) => row.greedy);

  test("the checkpoint's score is what its README says", () => {
    expect(scoreOf(task, greedy, rows)).toBeCloseTo(CHECKPOINT_SCORES[task], 2);
  });

  test("prompts have the checkpoint's token ids", () => {
    expect(rows.map(({ input }) => tokenizer.encode(input))).toEqual(rows.map(({ input_ids }) => input_ids));
  });

  test("int8 keeps the checkpoint's score", async () => {
    const difference = scoreOf(task, await int8(rows), rows) - scoreOf(task, greedy, rows);
    expect(Math.abs(difference)).toBeLessThanOrEqual(METRICS[task].tolerance);
  });

  test("int8 gives the text of float32 arithmetic on the same weights", async () => {
    const some = rows.slice(0, 40);
    expect(agreement(await int8(some), await float32(some))).toBeGreaterThanOrEqual(97);
  });
});
