/** A package's answers to rows, how good they are, how well it foretells people's answers, and how long a token takes. */

import { answerAll } from "../../src/evaluation/evaluate.ts";
import { T5 } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import type { DecoderInput, EngineLoader, Sequence } from "../../src/t5/engine.ts";
import { logSumExp } from "../../src/t5/generation/scores.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { accuracy, type BleuCounts, bleuCounts, bleuOf, rouge } from "../../src/t5/metrics/index.ts";
import { type Difference, differenceOf } from "./interval.ts";
import { MAX_NEW_TOKENS, readReference, type Task } from "./reference.ts";
import type { Row } from "./rows.ts";

/** Rows decoded side by side. */
const BATCH = 8;
/** A stream's steps before those that are timed, and those. */
const WARM_UP_STEPS = 8;
const TIMED_STEPS = 48;

/** How little a row's reference surprises a model. */
export interface Loss {
  /** Negative log-probability of its tokens. */
  nats: number;
  tokens: number;
}

export interface Subject {
  /** Of all blobs: weights, graphs, tokenizer. */
  bytes: number;
  /** Greedy answers, in the order of the rows. */
  answer(rows: readonly Row[]): Promise<string[]>;
  /** Of the references, in the order of the rows. */
  losses(rows: readonly Row[]): Promise<Loss[]>;
  encode(text: string): number[];
  /** Milliseconds of a token of one stream. */
  timeToken(): Promise<number>;
}

/** @param dir the package's folder; @param cacheBits of keys and values, where it is not the default */
export async function loadSubject(dir: string, engine: EngineLoader, cacheBits?: 8 | 32): Promise<Subject> {
  const { blobs } = await readManifest(new FolderStore(dir));
  const model = await T5.fromPretrained(dir, { engine, maxNewTokens: MAX_NEW_TOKENS, batchSize: BATCH, cacheBits });
  const { encoder, decoder } = model;
  const prompt = model.tokenizer.encode(readReference("summarize")[0]?.input ?? "");
  return {
    bytes: Object.values(blobs).reduce((sum, { bytes }) => sum + bytes, 0),
    async answer(rows) {
      const options = { num_beams: 1, do_sample: false, max_new_tokens: MAX_NEW_TOKENS };
      // Of an input with several references the answer is one.
      const inputs = [...new Set(rows.map(({ input }) => input))];
      const { texts } = await answerAll(model, inputs, options);
      const answers = new Map(inputs.map((input, i) => [input, texts[i] as string]));
      return rows.map(({ input }) => answers.get(input) as string);
    },
    async losses(rows) {
      const losses: Loss[] = [];
      for (let first = 0; first < rows.length; first += BATCH) {
        losses.push(...(await lossesOf(model, rows.slice(first, first + BATCH))));
      }
      return losses;
    },
    encode: (text) => model.tokenizer.encode(text),
    async timeToken() {
      const sequence = await decoder.open(await encoder.encode(prompt), WARM_UP_STEPS + TIMED_STEPS);
      let token = decoder.config.decoderStartTokenId;
      const step = async (one: Sequence) => {
        token = (await decoder.step([one], [token])).argmax(0);
      };
      try {
        for (let i = 0; i < WARM_UP_STEPS; i++) await step(sequence);
        const started = performance.now();
        for (let i = 0; i < TIMED_STEPS; i++) await step(sequence);
        return (performance.now() - started) / TIMED_STEPS;
      } finally {
        decoder.close(sequence);
      }
    },
  };
}

/** Of rows that are decoded side by side, each as long as its reference. */
async function lossesOf({ encoder, decoder, tokenizer }: T5, rows: readonly Row[]): Promise<Loss[]> {
  const references = rows.map(({ reference }) => tokenizer.encode(reference).slice(0, MAX_NEW_TOKENS));
  const inputs: DecoderInput[] = [];
  for (const [i, { input }] of rows.entries()) {
    const hidden = await encoder.encode(tokenizer.encode(input));
    inputs.push({ hidden, maxNewTokens: references[i]?.length ?? 0 });
  }
  const sequences = await decoder.openAll(inputs);
  const all = sequences.map((sequence, i) => ({ sequence, ids: references[i] ?? [], nats: 0 }));
  try {
    const { decoderStartTokenId } = decoder.config;
    for (let at = 0; at < MAX_NEW_TOKENS; at++) {
      const going = all.filter(({ ids }) => at < ids.length);
      if (going.length === 0) break;
      const before = going.map(({ ids }) => ids[at - 1] ?? decoderStartTokenId);
      const output = await decoder.step(
        going.map(({ sequence }) => sequence),
        before,
      );
      for (const [i, one] of going.entries()) {
        const logits = output.logits(i);
        one.nats += logSumExp(logits) - (logits[one.ids[at] as number] ?? Number.NaN);
      }
    }
  } finally {
    for (const sequence of sequences) decoder.close(sequence);
  }
  return all.map(({ nats, ids }) => ({ nats, tokens: ids.length }));
}

/** A metric of a task: what a row adds, and the score of rows. */
interface Metric<Part> {
  name: string;
  part(answer: string, reference: string): Part;
  score(parts: readonly Part[]): number;
  /** How far int8 weights, 14-bit activations, and int8 keys and values may be from float32. */
  tolerance: number;
}

const BLEU: Metric<BleuCounts> = {
  name: "BLEU",
  part: (answer, reference) => bleuCounts(answer, reference),
  score: (parts) => bleuOf(parts).score,
  tolerance: 0.1,
};
const ROUGE_L: Metric<number> = {
  name: "ROUGE-L",
  part: (answer, reference) => rouge([answer], [reference], { stemmer: true }).rougeL,
  score: mean,
  tolerance: 0.1,
};
const ACCURACY: Metric<number> = {
  name: "accuracy",
  part: (answer, reference) => accuracy([answer], [reference]),
  score: mean,
  tolerance: 0.5,
};
/** In nats a token. int4 weights are 0.04 off. */
export const LOSS_TOLERANCE = 0.001;

const METRICS = {
  "translate-de": BLEU,
  "translate-fr": BLEU,
  summarize: ROUGE_L,
  "classify-package": ACCURACY,
} as const satisfies Record<Task, unknown>;

/** The task's metric, whatever it adds up. */
export function metricOf(task: Task): Metric<unknown> {
  return METRICS[task] as Metric<unknown>;
}

export function scoreOf(task: Task, answers: readonly string[], rows: readonly Row[]): number {
  return metricOf(task).score(partsOf(task, answers, rows));
}

/** How much better `ours` are than `theirs`. */
export function scoreDifference(
  task: Task,
  ours: readonly string[],
  theirs: readonly string[],
  rows: readonly Row[],
): Difference {
  const parts = [ours, theirs].map((answers) => partsOf(task, answers, rows)) as [unknown[], unknown[]];
  return differenceOf(inputsOf(rows), ...parts, metricOf(task).score);
}

/** How much more `ours` are than `theirs`, in nats a token. */
export function lossDifference(ours: readonly Loss[], theirs: readonly Loss[], rows: readonly Row[]): Difference {
  return differenceOf(inputsOf(rows), ours, theirs, lossOf);
}

/** Nats a token. */
export function lossOf(losses: readonly Loss[]): number {
  const sum = (of: (loss: Loss) => number) => losses.reduce((total, loss) => total + of(loss), 0);
  return sum(({ nats }) => nats) / sum(({ tokens }) => tokens);
}

function partsOf(task: Task, answers: readonly string[], rows: readonly Row[]): unknown[] {
  return rows.map(({ reference }, i) => metricOf(task).part(answers[i] ?? "", reference));
}

function inputsOf(rows: readonly Row[]): string[] {
  return rows.map(({ input }) => input);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Share of rows with the same answer, in percent. */
export function agreement(a: readonly string[], b: readonly string[]): number {
  return accuracy(a, b);
}

/** The middle of so many timings of each subject, taken in turn: what disturbs one disturbs all. */
export async function timeTokens(subjects: readonly Subject[], rounds: number): Promise<number[]> {
  const times: number[][] = subjects.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, subject] of subjects.entries()) times[i]?.push(await subject.timeToken());
  }
  return times.map((each) => each.sort((a, b) => a - b)[rounds >> 1] ?? Number.NaN);
}
