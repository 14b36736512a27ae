/**
 * `npm run quality`: what int8 costs, on the packaged default model. Its answers against float32 arithmetic on the same,
 * dequantized weights (rounding activations, alone), and its scores against the float checkpoint's.
 *
 * Exits 1 when fewer than 97 % of the rows agree, or a score is off by more than its tolerance.
 */
import { formatTable } from "../../src/cli/output.ts";
import { createProgress } from "../../src/cli/progress.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { dequantize } from "./dequantize.ts";
import { agreement, answererOf, METRICS, scoreOf } from "./measure.ts";
import { readReference, TASKS } from "./reference.ts";

const LEAST_AGREEMENT = 97;

const json = process.argv.includes("--json");
const store = new FolderStore(DEFAULT_PACKAGE);
const manifest = await readManifest(store);
const kernels = await loadKernels();
const int8 = await answererOf(manifest, store, kernels);
const dequantized = await dequantize(manifest, store);
const float32 = await answererOf(dequantized.manifest, dequantized.store, kernels);

const progress = json ? null : createProgress(process.stderr, String);
const tasks = [];
let same = 0;
let total = 0;
for (const [i, task] of TASKS.entries()) {
  progress?.update(i, TASKS.length, task);
  const rows = readReference(task);
  const answers = await int8(rows);
  const exact = await float32(rows);
  const checkpoint = rows.map(({ greedy }) => greedy);
  same += (agreement(answers, exact) * rows.length) / 100;
  total += rows.length;
  const { name, tolerance } = METRICS[task];
  tasks.push({
    task,
    rows: rows.length,
    metric: name,
    int8: scoreOf(task, answers, rows),
    sameWeightsFloat32: scoreOf(task, exact, rows),
    checkpoint: scoreOf(task, checkpoint, rows),
    tolerance,
    agreementSameWeights: agreement(answers, exact),
    agreementCheckpoint: agreement(answers, checkpoint),
  });
}
progress?.stop();
const agreementSameWeights = (100 * same) / total;
const passed =
  agreementSameWeights >= LEAST_AGREEMENT &&
  tasks.every(({ int8: score, checkpoint, tolerance }) => Math.abs(score - checkpoint) <= tolerance);

if (json) console.log(JSON.stringify({ passed, rows: total, agreementSameWeights, tasks }));
else {
  const fixed = (value: number) => value.toFixed(2);
  const header = [
    "TASK",
    "ROWS",
    "METRIC",
    "CHECKPOINT",
    "SAME WEIGHTS, FLOAT32",
    "INT8",
    "SAME TEXT: WEIGHTS",
    "CHECKPOINT",
  ];
  const lines = tasks.map((row) => [
    row.task,
    row.rows,
    row.metric,
    fixed(row.checkpoint),
    fixed(row.sameWeightsFloat32),
    fixed(row.int8),
    `${fixed(row.agreementSameWeights)} %`,
    `${fixed(row.agreementCheckpoint)} %`,
  ]);
  console.log(formatTable(header, lines));
  console.log(
    `\nint8 gives the text of float32 arithmetic on the same weights in ${fixed(agreementSameWeights)} % of ${total} rows (at least ${LEAST_AGREEMENT} %): ${passed ? "passed" : "FAILED"}`,
  );
}
process.exitCode = passed ? 0 : 1;
