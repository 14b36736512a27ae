/** `edge-t5 generate PROMPT` */
import { text as readAll } from "node:stream/consumers";
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_PACKAGE, loadT5 } from "../index.ts";
import { loadKernels } from "../kernels/node.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "../t5/text-to-text.ts";
import { wholeNumber } from "./arguments.ts";
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
    kernels: {
      type: "enum",
      options: ["relaxed", "plain"],
      description: "WASM kernels to run on; default: what suits this machine",
    },
    json: { type: "boolean", description: "Print one JSON object: text, ids, token counts, timings" },
  },
  async run({ args }) {
    const maxNewTokens = wholeNumber("--max-tokens", args["max-tokens"], 1, 4096);
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
        kernels,
      });
      const loaded = performance.now();
      let first = 0;
      const { text, inputIds, outputIds, finishReason } = await t5.generate(prompt, {
        maxNewTokens,
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

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
