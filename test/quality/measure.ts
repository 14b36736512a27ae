/** Answers of a package to the reference rows, and how good they are. */
import { loadSimdEngine } from "../../src/engines/simd/index.ts";
import type { KernelModule } from "../../src/kernels/index.ts";
import type { Store } from "../../src/store/store.ts";
import { generate } from "../../src/t5/generate.ts";
import type { Manifest } from "../../src/t5/manifest.ts";
import { accuracy, corpusBleu, rouge } from "../../src/t5/metrics/index.ts";
import { loadTokenizer } from "../../src/t5/tokenizer.ts";
import { MAX_NEW_TOKENS, type ReferenceRow, type Task } from "./reference.ts";

/** Rows decoded side by side. */
const BATCH = 8;

export type Answerer = (rows: readonly ReferenceRow[]) => Promise<string[]>;

/** Greedy answers on the simd engine. */
export async function answererOf(manifest: Manifest, store: Store, kernels: KernelModule): Promise<Answerer> {
  const limits = { maxInputTokens: 512, maxNewTokens: MAX_NEW_TOKENS, maxSequences: BATCH };
  const { encoder, decoder } = await loadSimdEngine({
    manifest,
    store,
    kernels,
    roles: ["encoder", "decoder"],
    limits,
  });
  const tokenizer = await loadTokenizer(manifest, store);
  return async (rows) => {
    const answers: string[] = [];
    for (let first = 0; first < rows.length; first += BATCH) {
      const inputs = [];
      for (const { input } of rows.slice(first, first + BATCH)) {
        inputs.push({ hidden: await encoder.encode(tokenizer.encode(input)), maxNewTokens: MAX_NEW_TOKENS });
      }
      const ids: number[][] = inputs.map(() => []);
      for await (const { index, token } of generate(decoder, inputs)) ids[index]?.push(token);
      answers.push(...ids.map((each) => tokenizer.decode(each)));
    }
    return answers;
  };
}

/** Each task's own metric, and how far it may be from the float checkpoint's. */
export const METRICS: Record<Task, { name: string; tolerance: number }> = {
  "translate-de": { name: "BLEU", tolerance: 0.5 },
  "translate-fr": { name: "BLEU", tolerance: 0.5 },
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
