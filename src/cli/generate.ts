/** `edge-t5 generate PROMPT` */
import { randomInt } from "node:crypto";
import { text as readAll } from "node:stream/consumers";
import { defineCommand } from "citty";
import { parseWith } from "../api/parse.ts";
import { tableChoiceSchema } from "../api/task-run.ts";
import { EdgeT5Error } from "../errors.ts";
import { T5 } from "../index.ts";
import { mergeGenerationParams } from "../t5/generation/config.ts";
import type { Classification, GeneratedSequence, GenerateOptions, Generation } from "../t5/model.ts";
import type { LongProgress } from "../t5/text-to-text/long/index.ts";
import type { TaskDefinition } from "../tenancy/task-definition.ts";
import type { TableChoice } from "../tenancy/task-request.ts";
import { valuesOf, wholeNumber } from "./arguments.ts";
import { engineOption, kernelsOption, loadEngine } from "./engine.ts";
import { answerTask, labelTask, render, type TaskRunOptions, taskInputOf } from "./generate-task.ts";
import { generationArgs, generationOptionsOf, labelsOf } from "./generation-options.ts";
import { abortOnSignals, formatTable, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";
import { taskDefinitionOf } from "./task-definition.ts";

/** Longest prompt in tokens: T5's positions are relative, so this bounds memory, not the model. */
const MAX_PROMPT_TOKENS = 2048;

export default defineCommand({
  meta: { name: "generate", description: "Answer a prompt in the terminal, without a server" },
  args: {
    prompt: {
      type: "positional",
      required: true,
      description: 'The prompt with its task prefix; with --task a text, a file, or a JSON object; "-" reads stdin',
    },
    task: {
      type: "string",
      valueHint: "name",
      description: "A packaged task, a definition's file as task put --file takes it, or TENANT/NAME of a gateway",
    },
    words: {
      type: "string",
      valueHint: "n",
      description: "With a --task that sums up by sections: words of the summary",
    },
    select: {
      type: "string",
      valueHint: "json",
      description: 'With a --task for tables: {"table": 0, "columns": ["a"], "rows": {"from": 0, "to": 9}}',
    },
    explain: { type: "boolean", description: "With --task: tell on stderr what the model is given" },
    model: { type: "string", valueHint: "dir", description: "Package folder or address; default: the packaged model" },
    ...generationArgs,
    logprobs: {
      type: "string",
      valueHint: "n",
      description: "Tell each token's log-probability, and the n most probable tokens",
    },
    labels: { type: "string", valueHint: "a,b", description: "Choose one of these, with a score each" },
    adapter: { type: "string", valueHint: "dir", description: "LoRA adapter for the model, a folder as PEFT saves it" },
    engine: engineOption,
    kernels: kernelsOption,
    json: { type: "boolean", description: "Print one JSON object: text, ids, token counts, timings" },
  },
  async run({ args, rawArgs }) {
    const labels = labelsOf(args);
    const options = {
      ...generationOptionsOf(args, valuesOf("--stop", rawArgs)),
      logprobs: args.logprobs === undefined ? undefined : wholeNumber("--logprobs", args.logprobs, 0, 100),
    };
    options.seed ??= randomInt(2 ** 31);
    const prompt = args.prompt === "-" ? await readAll(process.stdin) : args.prompt;
    if (prompt.trim() === "") {
      throw new EdgeT5Error(
        "E_INPUT",
        'The prompt is empty. Give a text, such as "translate English to German: Hello.".',
      );
    }
    const interruption = abortOnSignals();
    const { signal } = interruption;
    const task = args.task === undefined ? null : await taskOf(args, labels, options);
    if (task) Object.assign(options, task.options);
    const allLabels = task ? (task.definition.labels ?? undefined) : labels;
    try {
      const started = performance.now();
      const sequences = Math.max(options.num_beams ?? 1, options.num_return_sequences ?? 1, allLabels?.length ?? 1);
      const t5 = await T5.fromPretrained(args.model, {
        engine: await loadEngine(args),
        maxInputTokens: MAX_PROMPT_TOKENS,
        maxNewTokens: options.max_new_tokens,
        batchSize: sequences > 4 ? sequences : undefined,
        signal,
      });
      const adapter = args.adapter === undefined ? undefined : await t5.loadAdapter(args.adapter);
      if (task) return await runTask(t5, task, prompt, { ...options, adapter, signal }, args.json === true);
      const loaded = performance.now();
      const loading = { load: round(loaded - started) };
      if (labels) {
        const answer = await t5.classify(prompt, labels, { adapter, signal });
        const timings_ms = { ...loading, classify: round(performance.now() - loaded) };
        if (args.json) printJson({ ...summaryOfLabels(answer), timings_ms });
        else printScores(answer);
        return;
      }
      const { seed, stop, logprobs, ...given } = options;
      const { do_sample, num_return_sequences } = mergeGenerationParams(t5.defaults, given);
      if (!args.json && num_return_sequences === 1 && logprobs === undefined) {
        for await (const piece of t5.stream(prompt, { ...options, adapter, signal })) process.stdout.write(piece);
        return void process.stdout.write("\n");
      }
      const answer = await t5.generate(prompt, { ...options, adapter, signal });
      const timings_ms = { ...loading, generate: round(performance.now() - loaded) };
      if (args.json) printJson({ ...summaryOf(answer), ...(do_sample && { seed }), timings_ms });
      else for (const sequence of answer.sequences) printSequence(sequence);
    } finally {
      interruption.dispose();
    }
  },
});

/** A task, and what the command line says of its run. */
interface TaskRun extends TaskRunOptions {
  definition: TaskDefinition;
  /** Its own, under those of the command line. */
  options: GenerateOptions;
  explain: boolean;
}

async function taskOf(
  args: { [Name in "task" | "words" | "select"]?: string | undefined } & { explain?: boolean | undefined },
  labels: readonly string[] | undefined,
  given: GenerateOptions,
): Promise<TaskRun> {
  if (labels) throw new EdgeT5Error("E_USAGE", "--labels beside --task: the task has its own. Drop one of the two.");
  const definition = await taskDefinitionOf(args.task ?? "");
  const words =
    args.words === undefined ? (definition.words ?? undefined) : wholeNumber("--words", args.words, 5, 5000);
  if (words !== undefined && definition.long !== "sections") {
    throw new EdgeT5Error("E_USAGE", `--words is for tasks that sum up by sections; ${args.task} does not. Drop it.`);
  }
  const asked = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return {
    ...{ definition, words, explain: args.explain === true },
    options: { ...definition.generation, ...asked },
    select: args.select === undefined ? undefined : selectionOf(args.select),
  };
}

function selectionOf(text: string): TableChoice {
  try {
    return parseWith(tableChoiceSchema, JSON.parse(text), "--select");
  } catch (cause) {
    throw new EdgeT5Error("E_USAGE", `--select: ${(cause as Error).message}`, { cause });
  }
}

async function runTask(
  t5: T5,
  { definition, words, select, explain }: TaskRun,
  given: string,
  options: GenerateOptions & { signal: AbortSignal },
  isJson: boolean,
): Promise<void> {
  const { signal, adapter } = options;
  const rendered = await render(t5, definition, await taskInputOf(given, definition, signal), select, signal);
  if (explain) console.error(rendered.prompt);
  const started = performance.now();
  const took = () => ({ generate: round(performance.now() - started) });
  const tellNotes = (notes: readonly string[]) => {
    for (const note of notes) console.error(`Note: ${note}`);
  };
  if (definition.labels) {
    const answer = await labelTask(t5, rendered, definition.labels, { adapter, signal });
    const { label, scores, windows } = answer;
    if (isJson) return printJson({ label, scores, windows, notes: rendered.notes, timings_ms: took() });
    tellNotes(rendered.notes);
    return printScores(answer);
  }
  tellNotes(rendered.notes);
  const progress = createProgress(process.stderr, String);
  let isAnswering = false;
  const tell = ({ done, of }: LongProgress) => {
    if (process.stderr.isTTY && !isAnswering && of > 1) progress.update(done, of, "parts read");
  };
  const pieces = answerTask(t5, rendered, options, words, isJson ? undefined : tell);
  let text = "";
  for (;;) {
    const next = await pieces.next().finally(() => progress.stop());
    isAnswering = true;
    if (next.done) {
      if (isJson) return printJson({ text, notes: [...rendered.notes, ...next.value.notes], timings_ms: took() });
      process.stdout.write("\n");
      return tellNotes(next.value.notes);
    }
    text += next.value;
    if (!isJson) process.stdout.write(next.value);
  }
}

function summaryOf({ inputIds, sequences }: Generation) {
  const completion_tokens = sequences.reduce((sum, { ids }) => sum + ids.length, 0);
  const [best, ...others] = sequences.map(({ text, ids, finishReason, score, logprobs }) => ({
    text,
    finish_reason: finishReason,
    ...(score !== undefined && { score }),
    output_ids: ids,
    ...(logprobs && { logprobs }),
  }));
  return {
    ...best,
    ...(others.length > 0 && { sequences: [best, ...others] }),
    input_ids: inputIds,
    usage: {
      prompt_tokens: inputIds.length,
      completion_tokens,
      total_tokens: inputIds.length + completion_tokens,
    },
  };
}

function printSequence({ text, logprobs }: GeneratedSequence): void {
  console.log(text);
  if (!logprobs) return;
  const rows = logprobs.map(({ token, logprob, top }) => [
    JSON.stringify(token),
    logprob.toFixed(3),
    top.map((other) => `${JSON.stringify(other.token)} ${other.logprob.toFixed(3)}`).join(", "),
  ]);
  console.log(`\n${formatTable(["TOKEN", "LOG-PROBABILITY", "MOST PROBABLE"], rows)}\n`);
}

function summaryOfLabels({ label, scores, inputIds }: Classification) {
  return { label, scores, input_ids: inputIds, usage: { prompt_tokens: inputIds.length } };
}

function printScores({ scores }: Pick<Classification, "scores">): void {
  const rows = scores.map(({ label, score, logprob }) => [label, `${(100 * score).toFixed(2)} %`, logprob.toFixed(3)]);
  console.log(formatTable(["LABEL", "SCORE", "LOG-PROBABILITY"], rows));
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
