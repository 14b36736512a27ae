/** `edge-t5 generate PROMPT` */
import { randomInt } from "node:crypto";
import { text as readAll } from "node:stream/consumers";
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { T5 } from "../index.ts";
import { mergeGenerationParams } from "../t5/generation/config.ts";
import type { Classification, GeneratedSequence, Generation } from "../t5/model.ts";
import { valuesOf, wholeNumber } from "./arguments.ts";
import { engineOption, kernelsOption, loadEngine } from "./engine.ts";
import { generationArgs, generationOptionsOf, labelsOf } from "./generation-options.ts";
import { abortOnSignals, formatTable, printJson } from "./output.ts";

/** Longest prompt in tokens: T5's positions are relative, so this bounds memory, not the model. */
const MAX_PROMPT_TOKENS = 2048;

export default defineCommand({
  meta: { name: "generate", description: "Answer a prompt in the terminal, without a server" },
  args: {
    prompt: { type: "positional", required: true, description: 'The prompt with its task prefix; "-" reads stdin' },
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
    try {
      const started = performance.now();
      const sequences = Math.max(options.num_beams ?? 1, options.num_return_sequences ?? 1, labels?.length ?? 1);
      const t5 = await T5.fromPretrained(args.model, {
        engine: await loadEngine(args),
        maxInputTokens: MAX_PROMPT_TOKENS,
        maxNewTokens: options.max_new_tokens,
        batchSize: sequences > 4 ? sequences : undefined,
        signal,
      });
      const adapter = args.adapter === undefined ? undefined : await t5.loadAdapter(args.adapter);
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

function printScores({ scores }: Classification): void {
  const rows = scores.map(({ label, score, logprob }) => [label, `${(100 * score).toFixed(2)} %`, logprob.toFixed(3)]);
  console.log(formatTable(["LABEL", "SCORE", "LOG-PROBABILITY"], rows));
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
