/** `edge-t5 golden DIR` */
import { defineCommand } from "citty";
import type { Bits } from "../../model-split/index.ts";
import { TOLERANCE } from "../golden/compare.ts";
import { type GoldenReport, runGolden } from "../golden/run.ts";
import { engineOption, kernelsOption, loadEngine } from "./engine.ts";
import { abortOnSignals, formatTable, printJson } from "./output.ts";

export default defineCommand({
  meta: { name: "golden", description: "Compare with Hugging Face's outputs on every model folder in a directory" },
  args: {
    dir: { type: "positional", required: true, description: "Directory of model folders, or one model folder" },
    engine: engineOption,
    bits: {
      type: "enum",
      options: ["32", "8", "4"],
      default: "32",
      description: "32: numbers must be equal; 8 or 4: quantized weights, reports agreement and does not fail",
    },
    kernels: kernelsOption,
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const interruption = abortOnSignals();
    try {
      const bits = Number(args.bits) as Bits;
      const report = await runGolden(args.dir, {
        bits,
        engine: await loadEngine(args),
        onModel(done, total, model) {
          if (process.stderr.isTTY)
            process.stderr.write(model ? `\r\x1b[K${done + 1} of ${total}: ${model}` : "\r\x1b[K");
        },
        signal: interruption.signal,
      });
      if (args.json) printJson({ engine: args.engine, bits, tolerance: TOLERANCE, ...report });
      else printReport(report, bits);
      if (bits === 32 && report.mismatches > 0) process.exitCode = 1;
    } finally {
      interruption.dispose();
    }
  },
});

function printReport({ kinds, notRun, mismatches }: GoldenReport, bits: Bits): void {
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
  const meaning =
    bits === 32
      ? `equal: same ids; numbers within ${TOLERANCE} of the largest magnitude`
      : `int${bits} weights; equal: same ids, for logits the same most probable token at every position`;
  console.log(`\n${run - mismatches} of ${run} equal (${meaning})`);
}
