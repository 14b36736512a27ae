/** `edge-t5 generate PROMPT` */
import { randomInt } from "node:crypto";
import { text as readAll } from "node:stream/consumers";
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_PACKAGE, loadT5 } from "../index.ts";
import { loadKernels } from "../kernels/node.ts";
import { type GenerationParams, parseGenerationParams } from "../t5/generation/config.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "../t5/text-to-text.ts";
import { decimal, wholeNumber } from "./arguments.ts";
import { abortOnSignals, printJson } from "./output.ts";

/** Longest prompt in tokens: T5's positions are relative, so this bounds memory, not the model. */
const MAX_PROMPT_TOKENS = 2048;

export default defineCommand({
  meta: { name: "generate", description: "Answer a prompt in the terminal, without a server" },
  args: {
    prompt: { type: "positional", required: true, description: 'The prompt with its task prefix; "-" reads stdin' },
    model: { type: "string", valueHint: "dir", description: "Package folder; default: the packaged model" },
    "max-tokens": {
      type: "string",
      default: String(DEFAULT_MAX_NEW_TOKENS),
      description: "Most tokens of the answer",
    },
    beams: { type: "string", valueHint: "n", description: "Beam search with so many beams; default: greedy" },
    temperature: { type: "string", valueHint: "t", description: "Sample at this temperature; 0 is greedy" },
    "top-k": { type: "string", valueHint: "k", description: "Sample from the k most probable tokens" },
    "top-p": { type: "string", valueHint: "p", description: "Sample from the tokens that reach p together" },
    seed: { type: "string", valueHint: "n", description: "The same seed gives the same sample; default: by chance" },
    kernels: {
      type: "enum",
      options: ["relaxed", "plain"],
      description: "WASM kernels to run on; default: what suits this machine",
    },
    json: { type: "boolean", description: "Print one JSON object: text, ids, token counts, timings" },
  },
  async run({ args }) {
    const maxNewTokens = wholeNumber("--max-tokens", args["max-tokens"], 1, 4096);
    const params = paramsOf(args);
    const seed = args.seed === undefined ? randomInt(2 ** 31) : wholeNumber("--seed", args.seed, 0, 2 ** 31 - 1);
    const prompt = args.prompt === "-" ? await readAll(process.stdin) : args.prompt;
    if (prompt.trim() === "") {
      throw new EdgeT5Error(
        "E_INPUT",
        'The prompt is empty. Give a text, such as "translate English to German: Hello.".',
      );
    }
    const interruption = abortOnSignals();
    try {
      const started = performance.now();
      const kernels = await loadKernels(args.kernels as "relaxed" | "plain" | undefined);
      const t5 = await loadT5(args.model ?? DEFAULT_PACKAGE, {
        maxInputTokens: MAX_PROMPT_TOKENS,
        maxNewTokens,
        maxSequences: params.num_beams,
        kernels,
      });
      const loaded = performance.now();
      let first = 0;
      const { text, inputIds, outputIds, finishReason } = await t5.generate(prompt, {
        maxNewTokens,
        params,
        seed,
        signal: interruption.signal,
        onText(piece) {
          first ||= performance.now();
          if (!args.json) process.stdout.write(piece);
        },
      });
      const ended = performance.now();
      if (!args.json) return void process.stdout.write("\n");
      printJson({
        text,
        finish_reason: finishReason,
        ...(params.do_sample && { seed }),
        input_ids: inputIds,
        output_ids: outputIds,
        usage: {
          prompt_tokens: inputIds.length,
          completion_tokens: outputIds.length,
          total_tokens: inputIds.length + outputIds.length,
        },
        timings_ms: {
          load: round(loaded - started),
          first_text: round((first || ended) - loaded),
          generate: round(ended - loaded),
        },
        kernels: kernels.name,
      });
    } finally {
      interruption.dispose();
    }
  },
});

/** Any of the sampling options asks for sampling, temperature 0 aside. */
function paramsOf(
  args: Partial<Record<"beams" | "temperature" | "top-k" | "top-p", string | undefined>>,
): GenerationParams {
  const temperature = args.temperature === undefined ? undefined : decimal("--temperature", args.temperature, 0, 100);
  const topK = args["top-k"] === undefined ? undefined : wholeNumber("--top-k", args["top-k"], 1, 1_000_000);
  const topP = args["top-p"] === undefined ? undefined : decimal("--top-p", args["top-p"], 0, 1);
  return parseGenerationParams({
    num_beams: args.beams === undefined ? 1 : wholeNumber("--beams", args.beams, 1, 64),
    do_sample: temperature === undefined ? topK !== undefined || topP !== undefined : temperature > 0,
    ...(temperature && { temperature }),
    ...(topK !== undefined && { top_k: topK }),
    ...(topP !== undefined && { top_p: topP }),
  });
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
