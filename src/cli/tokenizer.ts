/** `edge-t5 tokenizer train CORPUS… --size N --out DIR` */
import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { defineCommand } from "citty";
import { textsOf } from "../training/data/texts.ts";
import { tokenizerSettings } from "../training/tokenizer/settings.ts";
import { DEFAULT_COVERAGE, type TrainedTokenizer, trainTokenizer } from "../training/tokenizer/train.ts";
import { decimal, type OptionDef, valuesOf, wholeNumber } from "./arguments.ts";
import { listOf } from "./limit-options.ts";
import { abortOnSignals, formatBytes, formatCount, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";

const corpus = {
  type: "positional",
  required: true,
  multiple: true,
  description: "Files: text, a line each; TSV, CSV or JSON lines, all their texts; also .gz. Several may be given",
} as const satisfies OptionDef;

export const train = defineCommand({
  meta: { name: "train", description: "Train a Unigram vocabulary and write it as tokenizer.json" },
  args: {
    corpus,
    size: {
      type: "string",
      required: true,
      valueHint: "n",
      description: "Tokens, 103 specials and sentinels among them: rows of the model's embedding",
    },
    out: { type: "string", required: true, valueHint: "dir", description: "Folder to write tokenizer.json into" },
    fields: { type: "string", valueHint: "a,b", description: "Of JSON lines: only these fields; default: all texts" },
    coverage: {
      type: "string",
      valueHint: "share",
      default: String(DEFAULT_COVERAGE),
      description: "Share of the corpus' characters that get a token; 0.9995 for scripts of thousands of characters",
    },
    whole: {
      type: "string",
      valueHint: "text",
      multiple: true,
      description: "A text that is one token wherever it stands, as a task's prefix; may be given again",
    } as OptionDef,
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args, rawArgs }) {
    const size = wholeNumber("--size", args.size, 1, 1_000_000);
    const coverage = decimal("--coverage", args.coverage, 0.5, 1);
    const files = args._;
    const interruption = abortOnSignals();
    const { signal } = interruption;
    const reading = args.json ? null : createProgress();
    const dropping = args.json ? null : createProgress(process.stderr, formatCount);
    const started = performance.now();
    let trained: TrainedTokenizer;
    try {
      const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
      const bytes = sizes.reduce((sum, each) => sum + each, 0);
      let done = 0;
      const onBytes = (read: number) => {
        done += read;
        reading?.update(done, bytes, "read");
      };
      const texts = async function* () {
        for (const file of files) yield* textsOf(file, { fields: listOf("--fields", args.fields), onBytes, signal });
        reading?.stop();
      };
      trained = await trainTokenizer(texts(), {
        size,
        coverage,
        whole: valuesOf("--whole", rawArgs),
        onProgress: (dropped, toDrop) => dropping?.update(dropped, toDrop, "pieces dropped"),
        signal,
      });
      await mkdir(args.out, { recursive: true });
      await writeFile(join(args.out, "tokenizer_config.json"), JSON.stringify(tokenizerSettings(trained.sentinels)));
      await writeFile(join(args.out, "tokenizer.json"), JSON.stringify(trained.json));
    } finally {
      reading?.stop();
      dropping?.stop();
      interruption.dispose();
    }
    const seconds = Number(((performance.now() - started) / 1000).toFixed(1));
    if (args.json) printJson(summaryOf(args.out, trained, seconds));
    else printResult(args.out, trained, seconds);
  },
});

function summaryOf(
  out: string,
  { size, characters, charactersPerToken, uncovered }: TrainedTokenizer,
  seconds: number,
) {
  return {
    out,
    size,
    characters,
    characters_per_token: Number(charactersPerToken.toFixed(3)),
    unknown_characters: uncovered.distinct,
    unknown_share: uncovered.share,
    seconds,
  };
}

function printResult(out: string, trained: TrainedTokenizer, seconds: number): void {
  const { size, characters, charactersPerToken, uncovered, sentinels } = trained;
  console.log(
    `${formatCount(size)} tokens in ${join(out, "tokenizer.json")}: ${formatCount(characters)} characters, ${sentinels} sentinels; ${charactersPerToken.toFixed(2)} characters of the corpus a token; ${seconds} s.`,
  );
  if (uncovered.distinct > 0) {
    console.log(
      `${formatCount(uncovered.distinct)} rare characters are unknown to it (${(100 * uncovered.share).toPrecision(2)} % of the corpus); --coverage 1 takes all.`,
    );
  }
  console.log(`An embedding of d_model 256 takes ${formatBytes(size * 256)} at int8.`);
}
