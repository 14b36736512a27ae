/** A package's answers to the reference rows, how good they are, and how long a token takes. */

import { answerAll } from "../../src/evaluation/evaluate.ts";
import { T5 } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import type { EngineLoader, Sequence } from "../../src/t5/engine.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { accuracy, corpusBleu, rouge } from "../../src/t5/metrics/index.ts";
import { MAX_NEW_TOKENS, type ReferenceRow, readReference, type Task } from "./reference.ts";

/** Rows decoded side by side. */
const BATCH = 8;
/** A stream's steps before those that are timed, and those. */
const WARM_UP_STEPS = 8;
const TIMED_STEPS = 48;

export interface Subject {
  /** Of all blobs: weights, graphs, tokenizer. */
  bytes: number;
  /** Greedy answers, in the order of the rows. */
  answer(rows: readonly ReferenceRow[]): Promise<string[]>;
  encode(text: string): number[];
  /** Milliseconds of a token of one stream. */
  timeToken(): Promise<number>;
}

/** @param dir the package's folder; @param cacheBits of keys and values, where it is not the default */
export async function loadSubject(dir: string, engine: EngineLoader, cacheBits?: 8 | 32): Promise<Subject> {
  const { blobs } = await readManifest(new FolderStore(dir));
  const model = await T5.fromPretrained(dir, { engine, maxNewTokens: MAX_NEW_TOKENS, batchSize: BATCH, cacheBits });
  const prompt = model.tokenizer.encode(readReference("summarize")[0]?.input ?? "");
  return {
    bytes: Object.values(blobs).reduce((sum, { bytes }) => sum + bytes, 0),
    async answer(rows) {
      const options = { num_beams: 1, do_sample: false, max_new_tokens: MAX_NEW_TOKENS };
      return (
        await answerAll(
          model,
          rows.map(({ input }) => input),
          options,
        )
      ).texts;
    },
    encode: (text) => model.tokenizer.encode(text),
    async timeToken() {
      const { encoder, decoder } = model;
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

/**
 * Each task's own metric, and how far it may be from the float weights': of 200 rows a few texts that come out otherwise move
 * the BLEU of all by tenths.
 */
export const METRICS: Record<Task, { name: string; tolerance: number }> = {
  "translate-de": { name: "BLEU", tolerance: 0.75 },
  "translate-fr": { name: "BLEU", tolerance: 0.75 },
  summarize: { name: "ROUGE-L", tolerance: 0.5 },
  "classify-package": { name: "accuracy", tolerance: 1.5 },
};

export function scoreOf(task: Task, answers: readonly string[], rows: readonly ReferenceRow[]): number {
  const references = rows.map(({ reference }) => reference);
  switch (METRICS[task].name) {
    case "BLEU":
      return corpusBleu(answers, references).score;
    case "ROUGE-L":
      return rouge(answers, references, { stemmer: true }).rougeL;
    default:
      return accuracy(answers, references);
  }
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
