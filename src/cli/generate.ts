/** `edge-t5 generate PROMPT` */
import { randomInt } from "node:crypto";
import { text as readAll } from "node:stream/consumers";
import { defineCommand } from "citty";
import { type Explanation, explanationOf } from "../api/task-run.ts";
import { EdgeT5Error } from "../errors.ts";
import { T5 } from "../index.ts";
import { mergeGenerationParams } from "../t5/generation/config.ts";
import type { Classification, GeneratedSequence, GenerateOptions, Generation } from "../t5/model.ts";
import type { LongProgress } from "../t5/text-to-text/long/index.ts";
import { SPLIT_IT } from "../tenancy/length-note.ts";
import { valuesOf, wholeNumber } from "./arguments.ts";
import { engineOption, kernelsOption, loadEngine } from "./engine.ts";
import { answerTask, labelTask, modelFor, promptNotes, promptsOf, render, withinTask } from "./generate-task.ts";
import { generationArgs, generationOptionsOf, labelsOf } from "./generation-options.ts";
import { abortOnSignals, formatTable, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";
import { taskInputOf } from "./task-input.ts";
import { type TaskRun, taskArgs, taskRunOf } from "./task-run-options.ts";

/** Longest prompt in tokens: T5's positions are relative, so this bounds memory, not the model. */
const MAX_PROMPT_TOKENS = 2048;

export default defineCommand({
  meta: { name: "generate", description: "Answer a prompt in the terminal, without a server" },
  args: {
    prompt: {
      type: "positional",
      required: false,
      description: 'The prompt with its task prefix; with --task a text, a file, or a JSON object; "-" reads stdin',
    },
    ...taskArgs,
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
    const given = {
      ...generationOptionsOf(args, valuesOf("--stop", rawArgs)),
      logprobs: args.logprobs === undefined ? undefined : wholeNumber("--logprobs", args.logprobs, 0, 100),
    };
    const fields = valuesOf("--field", rawArgs);
    const task = await taskRunOf(args, fields, given);
    const options: GenerateOptions = task?.options ?? given;
    options.seed ??= randomInt(2 ** 31);
    const prompt = args.prompt === "-" ? await readAll(process.stdin) : (args.prompt ?? "");
    if (args.prompt === undefined && fields.length === 0) {
      throw new EdgeT5Error("E_USAGE", "PROMPT is missing. See edge-t5 generate --help.");
    }
    if (args.prompt !== undefined && prompt.trim() === "") {
      throw new EdgeT5Error(
        "E_INPUT",
        'The prompt is empty. Give a text, such as "translate English to German: Hello.".',
      );
    }
    const interruption = abortOnSignals();
    const { signal } = interruption;
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
      const notes = promptNotes(t5, prompt, "Split it, or name a --task that does.");
      if (!args.json) tellNotes(notes);
      const noted = notes.length > 0 && { notes };
      if (labels) {
        const answer = await t5.classify(prompt, labels, { adapter, signal });
        const timings_ms = { ...loading, classify: round(performance.now() - loaded) };
        if (args.json) printJson({ ...summaryOfLabels(answer), ...noted, timings_ms });
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
      if (args.json) printJson({ ...summaryOf(answer), ...(do_sample && { seed }), ...noted, timings_ms });
      else for (const sequence of answer.sequences) printSequence(sequence);
    } finally {
      interruption.dispose();
    }
  },
});

async function runTask(
  t5: T5,
  task: TaskRun,
  given: string,
  asked: GenerateOptions & { signal: AbortSignal },
  isJson: boolean,
): Promise<void> {
  const { definition, words, select, explain } = task;
  const options = withinTask(t5, definition, asked);
  const { signal, adapter } = options;
  const model = modelFor(t5, definition, options);
  const rendered = await render(model, definition, await taskInputOf(given, task, signal), select, signal);
  const explanation = explain ? explanationOf(promptsOf(model, rendered, words)) : null;
  const explained = explanation && { explain: explanation };
  const notes = [...rendered.notes, ...adapterNotes(definition, adapter !== undefined)];
  if (!rendered.long) notes.push(...promptNotes(t5, rendered.prompt, SPLIT_IT));
  if (!isJson) {
    if (explanation) tellInputs(explanation);
    tellNotes(notes);
  }
  const started = performance.now();
  const took = () => ({ generate: round(performance.now() - started) });
  if (definition.labels) {
    const answer = await labelTask(t5, model, rendered, definition.labels, { adapter, signal });
    const { label, scores, windows } = answer;
    const more = windows > 1 ? [`The text went through the model in ${windows} windows.`] : [];
    if (isJson) {
      return printJson({ label, scores, windows, notes: [...notes, ...more], ...explained, timings_ms: took() });
    }
    printScores(answer);
    return tellNotes(more);
  }
  const progress = createProgress(process.stderr, String);
  let isAnswering = false;
  const tell = ({ done, of }: LongProgress) => {
    if (process.stderr.isTTY && !isAnswering && of > 1) progress.update(done, of, "parts read");
  };
  const pieces = answerTask(t5, model, rendered, options, words, isJson ? undefined : tell);
  let text = "";
  for (;;) {
    const next = await pieces.next().finally(() => progress.stop());
    isAnswering = true;
    if (next.done) {
      if (isJson) {
        return printJson({ text, notes: [...notes, ...next.value.notes], ...explained, timings_ms: took() });
      }
      process.stdout.write("\n");
      return tellNotes(next.value.notes);
    }
    text += next.value;
    if (!isJson) process.stdout.write(next.value);
  }
}

/** A gateway's task may answer with an adapter that is there alone. */
function adapterNotes({ adapter }: TaskRun["definition"], isGiven: boolean): string[] {
  if (adapter === null || isGiven) return [];
  return [`The task answers with the adapter ${adapter}, which is not here: this is without. Give it by --adapter.`];
}

function tellNotes(notes: readonly string[]): void {
  for (const note of notes) console.error(`Note: ${note}`);
}

function tellInputs({ inputs, total }: Explanation): void {
  for (const [i, input] of inputs.entries()) {
    console.error(total === 1 ? input : `Input ${i + 1} of ${total}: ${input}`);
  }
  if (total === 0) console.error("The model is given nothing: no part of the input is for it.");
  if (total > inputs.length) console.error(`… and ${total - inputs.length} more.`);
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
