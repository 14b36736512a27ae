/** Measures a checkpoint by what it answers, on the engine that serves it: float32, so that nothing else is measured. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { splitCheckpoint } from "../../../model-split/split.ts";
import { simdEngine } from "../../engines/simd/index.ts";
import { answerAll } from "../../evaluation/evaluate.ts";
import { type MetricName, measure } from "../../evaluation/metrics.ts";
import { T5 } from "../../from-pretrained.ts";
import { loadKernels } from "../../kernels/node.ts";
import { FolderStore } from "../../store/folder.ts";
import { readAdapter } from "../../t5/adapter.ts";
import type { Tokenizer } from "../../t5/tokenizer.ts";
import type { ValidationTask } from "./data.ts";

/** Answers that are made side by side. */
const BATCH = 8;

/** The figure of each metric that says which checkpoint is best. */
const DECIDING: Record<MetricName, string> = {
  bleu: "BLEU",
  chrf: "chrF2",
  rouge: "ROUGE-L",
  exact: "exact",
  f1: "F1",
  accuracy: "accuracy",
};

export interface ScoreOptions {
  /** The run: a package lies in it while it is measured. */
  run: string;
  checkpoint: string;
  /** The model that an adapter is for; null where the checkpoint is a model itself. */
  base: string | null;
  tokenizer: Tokenizer;
  maxNewTokens: number;
  signal?: AbortSignal | undefined;
}

export interface Scores {
  /** Of each task that has a metric. */
  figures: Record<string, Record<string, number>>;
  /** The mean of those that decide. */
  score: number;
}

/** Where the package that is measured lies, below its run, as long as it is. */
export const EVALUATION_PACKAGE = ".evaluation.tmp";

/** @returns null where no task has a metric */
export async function scoreTasks(
  tasks: readonly ValidationTask[],
  { run, checkpoint, base, tokenizer, maxNewTokens, signal }: ScoreOptions,
): Promise<Scores | null> {
  const measured = tasks.filter(({ pairs }) => pairs.length > 0);
  if (measured.length === 0) return null;
  const dir = join(run, EVALUATION_PACKAGE);
  try {
    await rm(dir, { recursive: true, force: true });
    await splitCheckpoint(base ?? checkpoint, dir, { bits: 32, name: "evaluation", ...(signal && { signal }) });
    const longest = Math.max(
      ...measured.flatMap(({ pairs }) => pairs.map(({ input }) => tokenizer.encode(input).length)),
    );
    const model = await T5.fromPretrained(new FolderStore(dir), {
      engine: simdEngine(await loadKernels()),
      maxInputTokens: longest,
      maxNewTokens,
      batchSize: BATCH,
      signal,
    });
    const adapter = base === null ? undefined : await model.loadAdapter(await readAdapter(new FolderStore(checkpoint)));
    const figures: Scores["figures"] = {};
    let sum = 0;
    for (const { name, metric = "accuracy", labels, pairs } of measured) {
      const prompts = pairs.map(({ input }) => input);
      const answering = { labels, adapter, num_beams: 1, do_sample: false, max_new_tokens: maxNewTokens, signal };
      const { texts } = await answerAll(model, prompts, answering);
      const found = measure(
        [metric],
        texts,
        pairs.map(({ target }) => target),
      );
      figures[name] = found;
      sum += found[DECIDING[metric]] ?? 0;
    }
    return { figures, score: sum / measured.length };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
