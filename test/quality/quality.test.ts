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
import { isBeyond } from "./interval.ts";
import {
  agreement,
  LOSS_TOLERANCE,
  type Loss,
  loadSubject,
  lossDifference,
  metricOf,
  type Subject,
  scoreDifference,
  scoreOf,
} from "./measure.ts";
import { readReference, TASKS, type Task } from "./reference.ts";

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
let int4: Subject;
beforeAll(async () => {
  const engine = await ENGINES.simd();
  int8 = await loadSubject(DEFAULT_PACKAGE, engine);
  exactCache = await loadSubject(DEFAULT_PACKAGE, engine, 32);
  const store = new FolderStore(DEFAULT_PACKAGE);
  const dir = await lastingFolder();
  await dequantize(await readManifest(store), store, join(dir, "checkpoint"));
  const split = async (bits: 4 | 32) => {
    const out = join(dir, `bits-${bits}`);
    await splitCheckpoint(join(dir, "checkpoint"), out, { bits });
    return loadSubject(out, engine);
  };
  float32 = await split(32);
  int4 = await split(4);
});

const answered = new Map<Subject, Partial<Record<Task, Promise<string[]>>>>();

/** To all rows, once. */
function answersOf(subject: Subject, task: Task): Promise<string[]> {
  const known = answered.get(subject) ?? {};
  answered.set(subject, known);
  known[task] ??= subject.answer(readReference(task));
  return known[task];
}

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
    const difference = scoreDifference(task, await answersOf(int8, task), greedy, rows);
    expect(isBeyond(difference, metricOf(task).tolerance), JSON.stringify(difference)).toBe(false);
  });

  test("keys and values in int8 keep the score of float32 ones", async () => {
    const difference = scoreDifference(task, await answersOf(int8, task), await answersOf(exactCache, task), rows);
    expect(isBeyond(difference, metricOf(task).tolerance), JSON.stringify(difference)).toBe(false);
  });

  test("int8 gives the text of float32 arithmetic on the same weights", async () => {
    const some = rows.slice(0, 40);
    const exact = (await answersOf(exactCache, task)).slice(0, some.length);
    expect(agreement(exact, await float32.answer(some))).toBeGreaterThanOrEqual(97);
  });
});

// A score moves with the few texts that come out otherwise; the loss tells a far smaller difference from chance.
describe("the loss of people's answers", () => {
  const rows = TASKS.flatMap((task) => readReference(task).filter((_, i) => i % 2 === 0));
  let exact: Loss[];
  beforeAll(async () => {
    exact = await exactCache.losses(rows);
  });

  test("is with int8 keys and values what it is with float32 ones", async () => {
    const { low, high } = lossDifference(await int8.losses(rows), exact, rows);
    expect(low).toBeGreaterThan(-LOSS_TOLERANCE);
    expect(high).toBeLessThan(LOSS_TOLERANCE);
  });

  test("tells int4 weights from int8 ones", async () => {
    const some = rows.filter((_, i) => i % 2 === 0);
    const ofSome = exact.filter((_, i) => i % 2 === 0);
    expect(isBeyond(lossDifference(await int4.losses(some), ofSome, some), LOSS_TOLERANCE)).toBe(true);
  });
});

describe.each(["onnx", "onnx-web"] as const)("%s at 8 bits", (name) => {
  test.each(["translate-de", "translate-fr"] as const)("keeps the checkpoint's score of %s", async (task) => {
    const rows = readReference(task);
    const subject = await loadSubject(DEFAULT_PACKAGE, await ENGINES[name]());
    const greedy = rows.map((row) => row.greedy);
    const difference = scoreDifference(task, await subject.answer(rows), greedy, rows);
    expect(isBeyond(difference, metricOf(task).tolerance), JSON.stringify(difference)).toBe(false);
  });
});
