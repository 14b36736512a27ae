/** A run's data: its tokens in the run's folder, a source to train on, and rows to measure by. */
import { join } from "node:path";
import type { MetricName } from "../../evaluation/metrics.ts";
import type { T5Config } from "../../t5/config.ts";
import type { Tokenizer } from "../../t5/tokenizer.ts";
import {
  type Denoiser,
  mixture,
  mixtureRates,
  type Pair,
  type Pairs,
  type Part,
  PREFIX_LM,
  prepareCorpus,
  preparePairs,
  SPAN_CORRUPTION,
  UL2,
} from "../data/index.ts";
import type { Example, ExampleSource, Json } from "../example.ts";
import type { DataSettings, TaskSettings } from "./settings.ts";

export interface RunData {
  source: ExampleSource;
  /** Epochs up to a place in the source. */
  epochsAt(position: Json): number;
  /** Rows of an epoch; null where it has no rows of its own. */
  rows: number | null;
  /** Tokens of an epoch, of inputs and targets; about. */
  tokens: number;
  /** What is measured; empty where nothing was held out. */
  validation: ValidationTask[];
  close(): void;
}

export interface ValidationTask {
  name: string;
  examples: Example[];
  metric: MetricName | undefined;
  labels: readonly string[] | undefined;
  /** The same rows as the examples, where a metric asks for them. */
  pairs: Pair[];
}

export interface DataContext {
  /** Folder for the tokens. */
  dir: string;
  config: T5Config;
  tokenizer: Tokenizer;
  seed: number;
  evaluationRows: number;
  /** @param what is read @param done bytes of `total` */
  onProgress?: ((what: string, done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** @throws EdgeT5Error `E_DATA_*` naming file, line and reason; the operating system's errors; the signal's reason */
export function openData(settings: DataSettings, context: DataContext): Promise<RunData> {
  return settings.kind === "pairs" ? openPairs(settings, context) : openCorpus(settings, context);
}

interface OpenTask {
  train: Pairs;
  validation: ValidationTask;
}

async function openPairs(settings: Extract<DataSettings, { kind: "pairs" }>, context: DataContext): Promise<RunData> {
  const { tasks } = settings;
  const opened: OpenTask[] = [];
  const close = () => {
    for (const { train } of opened) train.close();
  };
  try {
    for (const task of tasks) opened.push(await openTask(task, settings, context));
  } catch (error) {
    close();
    throw error;
  }
  const sizes = opened.map(({ train }) => train.rows("train"));
  const rows = sizes.reduce((sum, size) => sum + size, 0);
  const sources = opened.map(({ train }) => train.train(context.seed));
  const given = tasks.map(({ rate }) => rate).filter((rate) => rate !== undefined);
  const rates = given.length > 0 ? given : mixtureRates(sizes, settings.rates);
  const [only] = sources;
  const source = only && sources.length === 1 ? only : mixture(sources, rates, context.seed);
  const tokens = opened.reduce((sum, { train: { report } }) => sum + report.inputs.total + report.targets.total, 0);
  const validation = opened.map((task) => task.validation).filter(({ examples }) => examples.length > 0);
  return { source, rows, tokens, validation, epochsAt: (position) => epochsOfPairs(position, rows), close };
}

/** Of a single task's place, or of a mixture's: an epoch is as many rows as all its tasks have. */
function epochsOfPairs(position: Json, rows: number): number {
  const { epoch = 0, row = 0, example } = (position ?? {}) as { epoch?: number; row?: number; example?: number };
  return example === undefined ? epoch + row / rows : example / rows;
}

async function openTask(
  task: TaskSettings,
  settings: Extract<DataSettings, { kind: "pairs" }>,
  context: DataContext,
): Promise<OpenTask> {
  const { maxInputTokens, maxTargetTokens, truncate } = settings;
  const { name, valid, metric, template, columns, target, labels, cut } = task;
  const { tokenizer, signal, evaluationRows } = context;
  const holdOut = valid.length > 0 ? 0 : settings.holdOut;
  const prepare = (part: string, files: readonly string[], more: { holdOut: number; minRows?: number }) =>
    preparePairs({
      ...{ files, template, columns, target, labels, cut, tokenizer, vocabSize: context.config.vocabSize },
      ...{ maxInputTokens, maxTargetTokens, truncate, signal, ...more },
      dir: join(context.dir, name, part),
      onProgress: (done, total) => context.onProgress?.(`${name}: ${part}`, done, total),
    });
  const train = await prepare("train", task.train, { holdOut });
  try {
    const measured = valid.length > 0 ? await prepare("valid", valid, { holdOut: 0, minRows: 1 }) : train;
    const part: Part = valid.length > 0 ? "train" : "held-out";
    try {
      const chosen = everySo(measured.rows(part), evaluationRows);
      const examples = await collect(measured.once(part).read(null), chosen, ({ example }) => example);
      const pairs = metric ? await collect(measured.texts(part, signal), chosen, (pair) => pair) : [];
      return { train, validation: { name, examples, metric, labels: labels ?? undefined, pairs } };
    } finally {
      if (measured !== train) measured.close();
    }
  } catch (error) {
    train.close();
    throw error;
  }
}

const DENOISER: Record<"span-corruption" | "prefix-lm" | "ul2", readonly Denoiser[]> = {
  "span-corruption": SPAN_CORRUPTION,
  "prefix-lm": PREFIX_LM,
  ul2: UL2,
};

async function openCorpus(settings: Extract<DataSettings, { kind: "corpus" }>, context: DataContext): Promise<RunData> {
  const { files, fields, denoiser, maxInputTokens: inputLength, holdOut } = settings;
  const { tokenizer, config, signal, seed, evaluationRows } = context;
  const corpus = await prepareCorpus({
    ...{ files, fields, tokenizer, vocabSize: config.vocabSize, holdOut, signal },
    dir: join(context.dir, "corpus"),
    onProgress: (done, total) => context.onProgress?.("corpus", done, total),
  });
  try {
    const corruption = { inputLength, denoisers: DENOISER[denoiser] };
    const examples: Example[] = [];
    for await (const { example } of corpus.heldOut({ ...corruption, seed: 0 }).read(null)) {
      if (examples.push(example) === evaluationRows) break;
    }
    const documents = corpus.documents("train");
    return {
      source: corpus.train({ ...corruption, seed }),
      rows: null,
      tokens: corpus.report.lengths.total,
      validation:
        examples.length > 0 ? [{ name: "corpus", examples, metric: undefined, labels: undefined, pairs: [] }] : [],
      epochsAt(position) {
        const { epoch = 0, document = 0 } = (position ?? {}) as { epoch?: number; document?: number };
        return epoch + document / documents;
      },
      close: () => corpus.close(),
    };
  } catch (error) {
    corpus.close();
    throw error;
  }
}

/** Numbers of at most `most` rows, evenly over all of them: files are often in some order. */
function everySo(rows: number, most: number): ReadonlySet<number> {
  const count = Math.min(rows, most);
  return new Set(Array.from({ length: count }, (_, i) => Math.floor((i * rows) / count)));
}

async function collect<Item, Result>(
  items: AsyncIterable<Item>,
  chosen: ReadonlySet<number>,
  of: (item: Item) => Result,
): Promise<Result[]> {
  const results: Result[] = [];
  let number = 0;
  for await (const item of items) if (chosen.has(number++)) results.push(of(item));
  return results;
}
