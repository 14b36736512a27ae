/** `edge-t5 train CORPUS… --run DIR` */
import { resolve } from "node:path";
import { type ArgsDef, defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { type BaseRequest, type DataSettings, DENOISERS, resumeRun, startRun } from "../training/run/index.ts";
import { type OptionDef, wholeNumber } from "./arguments.ts";
import { baseOf } from "./fit.ts";
import { listOf } from "./limit-options.ts";
import { refuseBesideResume, runFolder, runOptions, shareOf, showRun, trainingRequestOf } from "./training-options.ts";

const DEFAULT_INPUT_TOKENS = 512;
const HOLD_OUT = 0.01;

const corpus = {
  type: "positional",
  required: false,
  multiple: true,
  description:
    "Files: text, a document a line; TSV, CSV or JSON lines, all their texts; also .gz. Several may be given",
} as const satisfies OptionDef;

const args = {
  corpus,
  base: {
    type: "string",
    valueHint: "dir",
    description: "Checkpoint or package to go on from, or OWNER/NAME of the hub",
  },
  config: { type: "string", valueHint: "file", description: "Begin at random: config.json of the model" },
  tokenizer: { type: "string", valueHint: "dir", description: "With --config: folder of the model's tokenizer.json" },
  fields: { type: "string", valueHint: "a,b", description: "Of JSON lines: only these fields; default: all texts" },
  denoiser: {
    type: "enum",
    options: [...DENOISERS],
    default: "span-corruption",
    description: "What is taken away: T5's spans, the end of a text, or UL2's mixture of both",
  },
  "max-input-tokens": { type: "string", valueHint: "n", description: "Length that texts are packed to; default: 512" },
  ...runOptions,
} as const satisfies ArgsDef;

export default defineCommand({
  meta: { name: "train", description: "Pretrain a model on texts, from random weights or a checkpoint" },
  args,
  async run({ args }) {
    const isJson = Boolean(args.json);
    if (args.resume !== undefined) {
      refuseBesideResume({ ...args, denoiser: undefined }, ["base"]);
      const { resume, base } = args;
      return showRun(resume, "train", isJson, (context) => resumeRun(resume, { ...context, base }));
    }
    const run = runFolder(args, "edge-t5 train");
    const { config, tokenizer } = args;
    if (args._.length === 0) {
      throw new EdgeT5Error("E_USAGE", "CORPUS is missing: texts to train on. See edge-t5 train --help.");
    }
    if ((args.base === undefined) === (config === undefined) || (config === undefined) !== (tokenizer === undefined)) {
      throw new EdgeT5Error(
        "E_USAGE",
        "Give a model to go on from, --base DIR, or a new one: --config FILE --tokenizer DIR.",
      );
    }
    const fields = listOf("--fields", args.fields);
    const data: DataSettings = {
      kind: "corpus",
      files: args._.map((file) => resolve(file)),
      ...(fields && { fields }),
      maxInputTokens: wholeNumber(
        "--max-input-tokens",
        args["max-input-tokens"] ?? String(DEFAULT_INPUT_TOKENS),
        8,
        100_000,
      ),
      denoiser: args.denoiser as (typeof DENOISERS)[number],
      holdOut: shareOf(args, HOLD_OUT),
    };
    const training = trainingRequestOf(args);
    await showRun(run, "train", isJson, async function* (context) {
      const base: BaseRequest =
        config !== undefined && tokenizer !== undefined
          ? { config, tokenizer }
          : { from: await baseOf(args.base, isJson, context.signal) };
      yield* startRun({ run, kind: "train", base, data, training }, context);
    });
  },
});
