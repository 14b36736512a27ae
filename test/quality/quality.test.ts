/** What `npm run quality` measures on all rows, on some of them; and that the measuring itself is right. */
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { dequantize } from "../../model-split/dequantize.ts";
import { splitCheckpoint } from "../../model-split/index.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { ENGINES } from "../engines/tiny.ts";
import { lastingFolder } from "../model-split/checkpoints.ts";
import { agreement, loadSubject, METRICS, type Subject, scoreOf } from "./measure.ts";
import { readReference, TASKS } from "./reference.ts";

/** What sacrebleu and rouge-score make of the checkpoint's answers (recipes/default-model/references.py). */
const CHECKPOINT_SCORES = {
  "translate-de": 32.355,
  "translate-fr": 35.56,
  summarize: 35.581,
  "classify-package": 69.5,
};

let int8: Subject;
/** int8 weights, keys and values in float32. */
let exactCache: Subject;
let float32: Subject;
beforeAll(async () => {
  const engine = await ENGINES.simd();
  int8 = await loadSubject(DEFAULT_PACKAGE, engine);
  exactCache = await loadSubject(DEFAULT_PACKAGE, engine, 32);
  const store = new FolderStore(DEFAULT_PACKAGE);
  const dir = await lastingFolder();
  await dequantize(await readManifest(store), store, join(dir, "checkpoint"));
  await splitCheckpoint(join(dir, "checkpoint"), join(dir, "package"), { bits: 32 });
  float32 = await loadSubject(join(dir, "package"), engine);
});

describe.each(TASKS)("%s", (task) => {
  const rows = readReference(task);
  const greedy = rows.map((row) => row.greedy);

  test("the checkpoint's score is what sacrebleu and rouge-score make of it", () => {
    expect(scoreOf(task, greedy, rows)).toBeCloseTo(CHECKPOINT_SCORES[task], 2);
  });

  test("prompts have the checkpoint's token ids", () => {
    expect(rows.map(({ input }) => int8.encode(input))).toEqual(rows.map(({ input_ids }) => input_ids));
  });

  test("int8 keeps the checkpoint's score", async () => {
    const difference = scoreOf(task, await int8.answer(rows), rows) - scoreOf(task, greedy, rows);
    expect(Math.abs(difference)).toBeLessThanOrEqual(METRICS[task].tolerance);
  });

  test("keys and values in int8 change the score no more than rounding the weights may", async () => {
    const difference =
      scoreOf(task, await int8.answer(rows), rows) - scoreOf(task, await exactCache.answer(rows), rows);
    expect(Math.abs(difference)).toBeLessThanOrEqual(METRICS[task].tolerance);
  });

  test("int8 gives the text of float32 arithmetic on the same weights", async () => {
    const some = rows.slice(0, 40);
    expect(agreement(await exactCache.answer(some), await float32.answer(some))).toBeGreaterThanOrEqual(97);
  });
});

describe.each(["onnx", "onnx-web"] as const)("%s at 8 bits", (name) => {
  test.each(["translate-de", "translate-fr"] as const)("keeps the checkpoint's score of %s", async (task) => {
    const rows = readReference(task);
    const subject = await loadSubject(DEFAULT_PACKAGE, await ENGINES[name]());
    const greedy = rows.map((row) => row.greedy);
    const difference = scoreOf(task, await subject.answer(rows), rows) - scoreOf(task, greedy, rows);
    expect(Math.abs(difference)).toBeLessThanOrEqual(METRICS[task].tolerance);
  });
});
