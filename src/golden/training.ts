/** PyTorch's and transformers' training on a batch: loss, gradients, and what ten steps of each optimizer make of a model. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import * as z from "zod";
import { SafetensorsFile } from "../../model-split/safetensors.ts";
import { EdgeT5Error } from "../errors.ts";
import { type Batch, collate, IGNORED } from "../training/batch.ts";
import { type LoadedModel, loadModel } from "../training/checkpoint.ts";
import { Learner, type LearnerOptions } from "../training/learner.ts";
import type { OptimizerOptions } from "../training/optimizers/index.ts";
import { largestDifference, relativeDifference, TOLERANCE } from "./compare.ts";
import type { GoldenReport, KindReport } from "./run.ts";
import { readTensor } from "./run.ts";

/** Of a gradient's or parameter's largest magnitude. */
export const TENSOR_TOLERANCE = 1e-3;

const rows = z.array(z.array(z.int()).min(1)).min(1);
const numbers = z.array(z.number());

const batchSchema = z.object({
  input_ids: rows,
  attention_mask: rows,
  labels: rows,
  loss: z.number(),
  loss_label_smoothing_0_1: z.number(),
  z_loss_1e_4: z.number(),
  gradient_norm: z.number(),
  adamw_losses: numbers,
  adafactor_losses: numbers,
  adafactor_relative_losses: numbers,
});
type Reference = z.infer<typeof batchSchema>;

const LEARNING_RATE = 1e-3;
/** What the references were made with; see the reference folder's README. */
const OPTIMIZERS = {
  adamw: { name: "adamw" },
  adafactor: { name: "adafactor" },
  adafactor_relative: { name: "adafactor", relativeStep: true, scaleParameter: true },
} as const satisfies Record<string, OptimizerOptions>;

export interface TrainingGoldenOptions extends Pick<LearnerOptions, "provider" | "threads"> {
  onModel?: ((done: number, total: number, model: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * @param dir a folder with `batch.json`, or one that holds such folders, itself or below `training`; the model lies in a
 * folder of the same name beside `training`
 * @throws EdgeT5Error `E_INPUT` when there is none, or a reference or its model is malformed
 */
export async function runTrainingGolden(dir: string, options: TrainingGoldenOptions = {}): Promise<GoldenReport> {
  const folders = await trainingFolders(dir);
  const report: GoldenReport = { kinds: [], notRun: [], mismatches: 0 };
  for (const [done, folder] of folders.entries()) {
    options.signal?.throwIfAborted();
    options.onModel?.(done, folders.length, basename(folder));
    await compareFolder(folder, options, report);
  }
  options.onModel?.(folders.length, folders.length, "");
  for (const { run, equal } of report.kinds) report.mismatches += run - equal;
  return report;
}

async function trainingFolders(dir: string): Promise<string[]> {
  const isReference = (folder: string) => existsSync(join(folder, "batch.json"));
  if (isReference(dir)) return [dir];
  for (const parent of [dir, join(dir, "training")]) {
    const names = await readdir(parent).catch((): string[] => []);
    const folders = names.map((name) => join(parent, name)).filter(isReference);
    if (folders.length > 0) return folders.sort();
  }
  throw new EdgeT5Error("E_INPUT", `${dir} holds no training reference (a folder with batch.json). Give their parent.`);
}

/** The model that a reference was trained from. */
function modelOf(folder: string): string {
  const path = resolve(folder);
  const candidates = [path, join(dirname(dirname(path)), basename(path))];
  const found = candidates.find((candidate) => existsSync(join(candidate, "config.json")));
  if (found) return found;
  throw new EdgeT5Error("E_INPUT", `${folder} has no model: ${candidates[1]} has no config.json. Copy it there.`);
}

async function readReference(folder: string): Promise<Reference> {
  const path = join(folder, "batch.json");
  const malformed = (what: string, cause?: unknown) =>
    new EdgeT5Error("E_INPUT", `${path}: ${what}. Copy the reference folder again.`, { cause });
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw malformed("is not JSON", cause);
  }
  const parsed = batchSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw malformed(`${issue?.path.join(".") || "(root)"}: ${issue?.message}`);
  }
  const { input_ids, attention_mask, labels } = parsed.data;
  if (input_ids.length !== labels.length || input_ids.length !== attention_mask.length) {
    throw malformed("input_ids, attention_mask and labels differ in rows");
  }
  return parsed.data;
}

/** Rows without the padding that the reference stored: the trainer pads by itself. */
function batchOf({ input_ids, attention_mask, labels }: Reference, model: LoadedModel): Batch {
  const examples = input_ids.map((ids, row) => ({
    input: Int32Array.from(ids.filter((_, i) => attention_mask[row]?.[i] === 1)),
    target: Int32Array.from(withoutTrailing(labels[row]!)),
  }));
  return collate(examples, model.config);
}

function withoutTrailing(labels: readonly number[]): readonly number[] {
  return labels.slice(0, labels.findLastIndex((label) => label !== IGNORED) + 1);
}

async function compareFolder(folder: string, options: TrainingGoldenOptions, report: GoldenReport): Promise<void> {
  const name = basename(folder);
  const reference = await readReference(folder);
  const model = await loadModel(modelOf(folder));
  const batch = batchOf(reference, model);
  const settings = { ...options, tiedHead: model.tiedHead };
  report.kinds.push(await compareLosses(name, reference, batch, model, settings));
  const adamw = { ...settings, optimizer: OPTIMIZERS.adamw };
  const learner = await Learner.open(model.config, model.weights, adamw);
  try {
    await learner.accumulate(batch);
    const gradients = kindReport(name, "gradients");
    compareNumber(gradients, await learner.gradientNorm(), reference.gradient_norm);
    const tensorOf = (tensor: string) => learner.gradient(tensor);
    await compareTensors(gradients, join(folder, "gradients.safetensors"), tensorOf);
    report.kinds.push(gradients);
  } finally {
    await learner.close();
  }
  for (const [kind, optimizer] of Object.entries(OPTIMIZERS)) {
    options.signal?.throwIfAborted();
    if (!existsSync(join(folder, `${kind}.safetensors`))) {
      report.notRun.push({ model: name, what: `${kind}.safetensors`, cases: 1 });
      continue;
    }
    const losses = reference[`${kind as keyof typeof OPTIMIZERS}_losses`];
    report.kinds.push(await compareSteps(folder, kind, { ...settings, optimizer }, losses, batch));
  }
}

async function compareLosses(
  name: string,
  reference: Reference,
  batch: Batch,
  { config, weights }: LoadedModel,
  settings: Omit<LearnerOptions, "optimizer">,
): Promise<KindReport> {
  const report = kindReport(name, "loss");
  const learner = await Learner.open(config, weights, {
    ...settings,
    optimizer: OPTIMIZERS.adamw,
    labelSmoothing: 0.1,
    zLoss: 1e-4,
  });
  try {
    await learner.accumulate(batch);
    const { labels, crossEntropy, smoothed, zLoss } = learner.losses;
    compareNumber(report, crossEntropy / labels, reference.loss);
    compareNumber(report, smoothed / labels, reference.loss_label_smoothing_0_1);
    compareNumber(report, zLoss / labels, reference.z_loss_1e_4);
  } finally {
    await learner.close();
  }
  return report;
}

/** As many steps as the reference took, and the parameters after them. */
async function compareSteps(
  folder: string,
  kind: string,
  settings: LearnerOptions,
  losses: readonly number[],
  batch: Batch,
): Promise<KindReport> {
  const report = kindReport(basename(folder), kind);
  const { config, weights } = await loadModel(modelOf(folder));
  const learner = await Learner.open(config, weights, settings);
  try {
    for (const expected of losses) {
      await learner.accumulate(batch);
      compareNumber(report, (await learner.update({ learningRate: LEARNING_RATE })).total, expected);
    }
    const { trained } = learner;
    await compareTensors(report, join(folder, `${kind}.safetensors`), (name) => trained.get(name)?.values);
  } finally {
    await learner.close();
  }
  return report;
}

async function compareTensors(
  report: KindReport,
  path: string,
  tensorOf: (name: string) => Float32Array | undefined,
): Promise<void> {
  const file = await SafetensorsFile.open(path);
  try {
    for (const name of file.tensors.keys()) {
      const actual = tensorOf(name) ?? new Float32Array();
      count(report, relativeDifference(actual, await readTensor(file, name)), TENSOR_TOLERANCE);
    }
  } finally {
    await file.close();
  }
}

function kindReport(model: string, kind: string): KindReport {
  return { model, kind, run: 0, equal: 0, largestDifference: null };
}

function compareNumber(report: KindReport, actual: number, expected: number): void {
  count(report, largestDifference([actual], [expected]), TOLERANCE);
}

function count(report: KindReport, difference: number, tolerance: number): void {
  report.run++;
  if (difference <= tolerance) report.equal++;
  report.largestDifference = Math.max(report.largestDifference ?? 0, difference);
}
