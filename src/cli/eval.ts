/** `edge-t5 eval PACKAGE --data FILE` */
import { writeFile } from "node:fs/promises";
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { answerAll } from "../evaluation/evaluate.ts";
import { METRIC_NAMES, type MetricName, measure } from "../evaluation/metrics.ts";
import { T5 } from "../index.ts";
import { readPairs } from "../training/data/read-pairs.ts";
import { wholeNumber } from "./arguments.ts";
import { engineOption, kernelsOption, loadEngine } from "./engine.ts";
import { labelsOf } from "./generation-options.ts";
import { abortOnSignals, formatTable, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";

export default defineCommand({
  meta: { name: "eval", description: "Measure a package's answers against references" },
  args: {
    package: { type: "positional", required: true, description: "Package folder, or http(s) address" },
    data: {
      type: "string",
      required: true,
      valueHint: "file",
      description: "Inputs and references: TSV, CSV or JSON lines; .gz too",
    },
    prefix: { type: "string", default: "", description: "Put before every input, such as 'summarize: '" },
    metric: { type: "string", default: "bleu", valueHint: "a,b", description: `Of ${METRIC_NAMES.join(", ")}` },
    "max-tokens": { type: "string", valueHint: "n", description: "Most tokens of an answer; default: 128" },
    beams: { type: "string", valueHint: "n", description: "Beams of the search; default: 1, greedy" },
    labels: { type: "string", valueHint: "a,b", description: "Choose one of these by score, instead of generating" },
    limit: { type: "string", valueHint: "n", description: "Only the first n rows" },
    batch: { type: "string", valueHint: "n", default: "8", description: "Sequences decoded side by side" },
    "input-field": {
      type: "string",
      valueHint: "name",
      description: "Column of the input; default: input, or the first",
    },
    "reference-field": {
      type: "string",
      valueHint: "name",
      description: "Column of the reference; default: reference, target, or the second",
    },
    out: {
      type: "string",
      valueHint: "file",
      description: "Write input, reference and answer of each row as JSON lines",
    },
    adapter: { type: "string", valueHint: "dir", description: "LoRA adapter for the model, a folder as PEFT saves it" },
    engine: engineOption,
    kernels: kernelsOption,
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const metrics = metricsOf(args.metric);
    const labels = labelsOf(args);
    const beams = wholeNumber("--beams", args.beams ?? "1", 1, 64);
    const batch = wholeNumber("--batch", args.batch, 1, 64);
    const maxNewTokens = wholeNumber("--max-tokens", args["max-tokens"] ?? "128", 1, 4096);
    const limit = args.limit === undefined ? undefined : wholeNumber("--limit", args.limit, 1, 1e9);
    const { "input-field": inputField, "reference-field": target } = args;
    const columns = inputField === undefined ? undefined : { input: inputField };
    const all = await readPairs(args.data, { columns, target });
    const rows = all.slice(0, limit).map(({ input, target }) => ({ input, reference: target }));
    const prompts = rows.map(({ input }) => args.prefix + input);
    const references = rows.map(({ reference }) => reference);
    // Fails now rather than after the last row.
    if (args.out) await writeFile(args.out, "");

    const interruption = abortOnSignals();
    const progress = args.json ? null : createProgress(process.stderr, String);
    try {
      const model = await T5.fromPretrained(args.package, {
        engine: await loadEngine(args),
        maxInputTokens: 2048,
        maxNewTokens,
        batchSize: Math.max(batch, beams),
        signal: interruption.signal,
      });
      const adapter = args.adapter === undefined ? undefined : await model.loadAdapter(args.adapter);
      const started = performance.now();
      const answers = await answerAll(model, prompts, {
        labels,
        adapter,
        num_beams: beams,
        do_sample: false,
        max_new_tokens: maxNewTokens,
        signal: interruption.signal,
        onProgress: (done, total) => {
          const rate = done / ((performance.now() - started) / 1000);
          progress?.update(done, total, `rows, ${rate.toFixed(1)} a second`);
        },
      });
      progress?.stop();
      if (args.out) {
        const lines = rows.map((row, i) => JSON.stringify({ ...row, answer: answers.texts[i] }));
        await writeFile(args.out, `${lines.join("\n")}\n`);
      }
      const scores = measure(metrics, answers.texts, references);
      const seconds = answers.milliseconds / 1000;
      const result = {
        package: args.package,
        ...(args.adapter !== undefined && { adapter: args.adapter }),
        engine: args.engine,
        rows: rows.length,
        scores,
        prompt_tokens: answers.promptTokens,
        completion_tokens: answers.completionTokens,
        seconds: Number(seconds.toFixed(3)),
        rows_a_second: Number((rows.length / seconds).toFixed(2)),
      };
      if (args.json) printJson(result);
      else {
        console.log(
          formatTable(
            ["METRIC", "SCORE"],
            Object.entries(scores).map(([name, score]) => [name, score.toFixed(2)]),
          ),
        );
        console.log(`\n${rows.length} rows in ${seconds.toFixed(1)} s, ${result.rows_a_second} a second`);
      }
    } finally {
      progress?.stop();
      interruption.dispose();
    }
  },
});

/** @throws EdgeT5Error `E_USAGE` */
function metricsOf(list: string): MetricName[] {
  return list.split(",").map((name) => {
    const known = METRIC_NAMES.find((metric) => metric === name.trim().toLowerCase());
    if (known) return known;
    throw new EdgeT5Error("E_USAGE", `--metric has ${JSON.stringify(name)}. It can be ${METRIC_NAMES.join(", ")}.`);
  });
}
