/** `edge-t5 generate PROMPT` */
import { randomInt } from "node:crypto";
import { text as readAll } from "node:stream/consumers";
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { T5 } from "../index.ts";
import type { Classification, GenerateOptions } from "../t5/text-to-text.ts";
import { decimal, wholeNumber } from "./arguments.ts";
import { engineOption, kernelsOption, loadEngine } from "./engine.ts";
import { abortOnSignals, formatTable, printJson } from "./output.ts";

/** Longest prompt in tokens: T5's positions are relative, so this bounds memory, not the model. */
const MAX_PROMPT_TOKENS = 2048;

export default defineCommand({
  meta: { name: "generate", description: "Answer a prompt in the terminal, without a server" },
  args: {
    prompt: { type: "positional", required: true, description: 'The prompt with its task prefix; "-" reads stdin' },
    model: { type: "string", valueHint: "dir", description: "Package folder; default: the packaged model" },
    "max-tokens": { type: "string", valueHint: "n", description: "Most tokens of the answer; default: the model's" },
    beams: { type: "string", valueHint: "n", description: "Beam search with so many beams; default: the model's" },
    temperature: { type: "string", valueHint: "t", description: "Sample at this temperature; 0 is greedy" },
    "top-k": { type: "string", valueHint: "k", description: "Sample from the k most probable tokens" },
    "top-p": { type: "string", valueHint: "p", description: "Sample from the tokens that reach p together" },
    seed: { type: "string", valueHint: "n", description: "The same seed gives the same sample; default: by chance" },
    stop: { type: "string", valueHint: "text", description: "A text that ends the answer" },
    labels: { type: "string", valueHint: "a,b", description: "Choose one of these, with a score each" },
    engine: engineOption,
    kernels: kernelsOption,
    json: { type: "boolean", description: "Print one JSON object: text, ids, token counts, timings" },
  },
  async run({ args }) {
    const options = optionsOf(args);
    const labels = labelsOf(args);
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
      const t5 = await T5.fromPretrained(args.model, {
        engine: await loadEngine(args),
        maxInputTokens: MAX_PROMPT_TOKENS,
        maxNewTokens: options.max_new_tokens,
        batchSize: Math.max(options.num_beams ?? 4, labels?.length ?? 1),
        signal,
      });
      const loaded = performance.now();
      const loading = { load: round(loaded - started) };
      if (labels) {
        const answer = await t5.classify(prompt, labels, { signal });
        const timings_ms = { ...loading, classify: round(performance.now() - loaded) };
        if (args.json) printJson({ ...summaryOf(answer), timings_ms });
        else printScores(answer);
        return;
      }
      if (!args.json) {
        for await (const piece of t5.stream(prompt, { ...options, signal })) process.stdout.write(piece);
        return void process.stdout.write("\n");
      }
      const { text, inputIds, ids, finishReason, score } = await t5.generate(prompt, { ...options, signal });
      printJson({
        text,
        finish_reason: finishReason,
        ...(score !== undefined && { score }),
        ...(options.do_sample && { seed: options.seed }),
        input_ids: inputIds,
        output_ids: ids,
        usage: {
          prompt_tokens: inputIds.length,
          completion_tokens: ids.length,
          total_tokens: inputIds.length + ids.length,
        },
        timings_ms: { ...loading, generate: round(performance.now() - loaded) },
      });
    } finally {
      interruption.dispose();
    }
  },
});

type Args = Partial<
  Record<"max-tokens" | "beams" | "temperature" | "top-k" | "top-p" | "seed" | "stop" | "labels", string | undefined>
>;

/** Any of the sampling options asks for sampling, temperature 0 aside. */
function optionsOf(args: Args): GenerateOptions {
  const temperature = args.temperature === undefined ? undefined : decimal("--temperature", args.temperature, 0, 100);
  const topK = args["top-k"] === undefined ? undefined : wholeNumber("--top-k", args["top-k"], 1, 1_000_000);
  const topP = args["top-p"] === undefined ? undefined : decimal("--top-p", args["top-p"], 0, 1);
  const samples = topK !== undefined || topP !== undefined;
  const asks = temperature === undefined ? samples || undefined : temperature > 0;
  return {
    ...(args["max-tokens"] && { max_new_tokens: wholeNumber("--max-tokens", args["max-tokens"], 1, 4096) }),
    ...(args.beams && { num_beams: wholeNumber("--beams", args.beams, 1, 64) }),
    ...(asks !== undefined && { do_sample: asks }),
    ...(temperature && { temperature }),
    ...(topK !== undefined && { top_k: topK }),
    ...(topP !== undefined && { top_p: topP }),
    ...(args.stop && { stop: args.stop }),
    seed: args.seed === undefined ? randomInt(2 ** 31) : wholeNumber("--seed", args.seed, 0, 2 ** 31 - 1),
  };
}

/** @throws EdgeT5Error `E_USAGE` for labels beside options that decode freely */
function labelsOf(args: Args): string[] | null {
  if (args.labels === undefined) return null;
  const others = ["max-tokens", "beams", "temperature", "top-k", "top-p", "seed", "stop"] as const;
  const other = others.find((name) => args[name] !== undefined);
  if (other) {
    throw new EdgeT5Error(
      "E_USAGE",
      `--labels and --${other} contradict each other: every label is scored, nothing is searched or sampled. Drop one of the two.`,
    );
  }
  return args.labels.split(",").map((label) => label.trim());
}

function summaryOf({ label, scores, inputIds }: Classification) {
  return { label, scores, input_ids: inputIds, usage: { prompt_tokens: inputIds.length } };
}

function printScores({ scores }: Classification): void {
  const rows = scores.map(({ label, score, logprob }) => [label, `${(100 * score).toFixed(2)} %`, logprob.toFixed(3)]);
  console.log(formatTable(["LABEL", "SCORE", "LOG-PROBABILITY"], rows));
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
