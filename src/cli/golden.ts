/** `edge-t5 golden DIR` */
import { defineCommand } from "citty";
import type { Bits } from "../../model-split/index.ts";
import { EdgeT5Error } from "../errors.ts";
import { type Base, runAdapterGolden } from "../golden/adapters.ts";
import { TOLERANCE } from "../golden/compare.ts";
import { type GoldenReport, runGolden } from "../golden/run.ts";
import { runTrainingGolden, TENSOR_TOLERANCE } from "../golden/training.ts";
import { engineOption, kernelsOption, loadEngine } from "./engine.ts";
import { abortOnSignals, formatTable, printJson } from "./output.ts";

export default defineCommand({
  meta: { name: "golden", description: "Compare with Hugging Face's outputs on every model folder in a directory" },
  args: {
    dir: { type: "positional", required: true, description: "Directory of model folders, or one model folder" },
    checkpoint: {
      type: "string",
      valueHint: "dir",
      description: "The folders in DIR are LoRA adapters for this checkpoint, with expected.jsonl",
    },
    model: { type: "string", valueHint: "dir", description: "The same, for a package as it is" },
    engine: engineOption,
    bits: {
      type: "enum",
      options: ["32", "8", "4"],
      description:
        "32, the default: numbers must be equal; 8 or 4: quantized weights, reports agreement and does not fail",
    },
    kernels: kernelsOption,
    training: {
      type: "boolean",
      description:
        "Compare training instead: loss, gradients, and ten steps of AdamW and Adafactor (folders with batch.json)",
    },
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const interruption = abortOnSignals();
    try {
      const progress = {
        onModel(done: number, total: number, model: string) {
          if (process.stderr.isTTY)
            process.stderr.write(model ? `\r\x1b[K${done + 1} of ${total}: ${model}` : "\r\x1b[K");
        },
        signal: interruption.signal,
      };
      if (args.training) {
        const report = await runTrainingGolden(args.dir, progress);
        if (args.json) printJson({ tolerance: TOLERANCE, tensorTolerance: TENSOR_TOLERANCE, ...report });
        else
          printReport(
            report,
            `numbers within ${TOLERANCE}, tensors within ${TENSOR_TOLERANCE} of the largest magnitude`,
          );
        if (report.mismatches > 0) process.exitCode = 1;
        return;
      }
      const base = baseOf(args);
      const options = { engine: await loadEngine(args), ...progress };
      const { bits, ...report } = base
        ? await runAdapterGolden(args.dir, { base, ...options })
        : { bits: bitsOf(args), ...(await runGolden(args.dir, { bits: bitsOf(args), ...options })) };
      if (args.json) printJson({ engine: args.engine, bits, tolerance: TOLERANCE, ...report });
      else {
        printReport(
          report,
          bits === 32
            ? `equal: same ids; numbers within ${TOLERANCE} of the largest magnitude`
            : `int${bits} weights; equal: same ids, for logits the same most probable token at every position`,
        );
      }
      if (bits === 32 && report.mismatches > 0) process.exitCode = 1;
    } finally {
      interruption.dispose();
    }
  },
});

interface Args {
  checkpoint?: string | undefined;
  model?: string | undefined;
  bits?: string | undefined;
}

function bitsOf({ bits }: Args): Bits {
  return Number(bits ?? "32") as Bits;
}

/** What the adapters in the directory are for; null where it holds models. @throws EdgeT5Error `E_USAGE` */
function baseOf(args: Args): Base | null {
  const { checkpoint, model, bits } = args;
  if (model !== undefined && (checkpoint !== undefined || bits !== undefined)) {
    const other = checkpoint === undefined ? "--bits" : "--checkpoint";
    throw new EdgeT5Error(
      "E_USAGE",
      `--model and ${other} contradict each other: a package is run as it is. Drop one.`,
    );
  }
  if (model !== undefined) return { package: model };
  return checkpoint === undefined ? null : { checkpoint, bits: bitsOf(args) };
}

function printReport({ kinds, notRun, mismatches }: GoldenReport, meaning: string): void {
  const rows = kinds.map(({ model, kind, run, equal, largestDifference }) => [
    model,
    kind,
    run,
    equal,
    largestDifference === null ? "–" : largestDifference.toExponential(1),
  ]);
  console.log(formatTable(["MODEL", "KIND", "RUN", "EQUAL", "LARGEST DIFFERENCE"], rows));
  if (notRun.length > 0) {
    const needs = Map.groupBy(notRun, ({ what }) => what);
    const lines = [...needs].map(([what, of]) => [what, of.length, of.reduce((sum, { cases }) => sum + cases, 0)]);
    console.log(`\n${formatTable(["NOT RUN, FOR IT NEEDS", "MODELS", "CASES"], lines)}`);
  }
  const run = kinds.reduce((sum, kind) => sum + kind.run, 0);
  console.log(`\n${run - mismatches} of ${run} equal (${meaning})`);
}
