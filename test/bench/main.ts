/**
 * `npm run bench [-- --json] [--rounds N] [--kernels relaxed|plain] [--skip-workerd]`: token step, encode, load and
 * memory of T5-small's shape at int8, one thread, in Node and in workerd, each beside its floor.
 *
 * Every engine and its floors run in one process and in turn; figures are medians over the rounds, ratios medians of
 * each round's ratio. With `--json` the last line of stdout is one object: figures by key, machine and versions.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { splitCheckpoint } from "../../model-split/index.ts";
import { formatTable } from "../../src/cli/output.ts";
import type { KernelName } from "../../src/kernels/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import type { Manifest } from "../../src/t5/manifest.ts";
import { writeRandomCheckpoint } from "./checkpoint.ts";
import { buildFloors } from "./floors-build.ts";
import type { Figures } from "./measure.ts";
import { profile } from "./profile.ts";
import { PROMPT_TOKENS, STEPS, stepBytes } from "./subject.ts";
import { type MemoryFigures, measureInWorkerd } from "./workerd-run.ts";

const HELP = `Usage: npm run bench -- [options]

  --json             last line of stdout: one JSON object with all figures
  --rounds N         rounds of measuring; default 15
  --kernels NAME     relaxed or plain; default: what the kit chooses on this machine
  --skip-workerd     Node only
  --profile          where a step's time goes, kernel by kernel, and nothing else

Examples:
  npm run bench
  npm run bench -- --json --rounds 31 | tail -n 1
`;

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "15" },
    kernels: { type: "string" },
    "skip-workerd": { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(HELP);
  process.exit(0);
}
const rounds = Number(options.rounds);
if (!Number.isInteger(rounds) || rounds < 1) fail(`--rounds is ${options.rounds}; give a whole number of at least 1.`);
if (options.kernels !== undefined && options.kernels !== "relaxed" && options.kernels !== "plain") {
  fail(`--kernels is ${options.kernels}; give relaxed or plain.`);
}

type All = MemoryFigures & Figures;

interface Subjects {
  kernels: KernelName;
  manifest: Manifest;
  parameters: number;
  packageBytes: number;
  splitMs: number;
}

/** Rows of the table: the key in `--json`, what it is, digits after the point. */
const ROWS: readonly [key: keyof All, what: string, digits: number][] = [
  ["read_gb_per_s", "memory read, fastest loop, GB/s", 1],
  ["step_floor_ms", "token step, memory-read floor, ms", 3],
  ["step_ms", "token step (prompt 128, position 32), ms", 3],
  ["step_over_floor", "token step ÷ floor", 2],
  ["beams4_over_1", "step of four beams ÷ one's ÷ digits", 2],
  ["dot_gmac_per_s", "int8 dots from registers, 1e9 multiply-adds/s", 1],
  ["encode_floor_ms", "encode(128), dot floor, ms", 1],
  ["encode128_ms", "encode(128), ms", 1],
  ["encode_over_floor", "encode(128) ÷ floor", 2],
  ["load_ms", "load: storage → ready, ms", 0],
  ["wasm_mb", "WASM memory, MB", 1],
  ["peak_load_mb", "WASM + JS heap + buffers, peak of loading, MB", 1],
  ["after_load_mb", "WASM + JS heap + buffers, after loading, MB", 1],
];

const say = (text: string) => process.stderr.write(`${text}\n`);
const work = await mkdtemp(join(tmpdir(), "edge-t5-bench-"));
try {
  const kernels: KernelName = options.kernels ?? (await loadKernels()).name;
  say("building the floors");
  await buildFloors();
  say("making a checkpoint of T5-small's shape with random weights (seed 1), and splitting it at int8");
  await writeRandomCheckpoint(join(work, "checkpoint"));
  const started = performance.now();
  const { manifest, parameters, packageBytes } = await splitCheckpoint(
    join(work, "checkpoint"),
    join(work, "package"),
    {
      name: "bench",
    },
  );
  const splitMs = performance.now() - started;
  await rm(join(work, "checkpoint"), { recursive: true });
  if (options.profile) {
    console.log(await profile(join(work, "package"), kernels));
  } else {
    await report({ kernels, manifest, parameters, packageBytes, splitMs });
  }
} finally {
  await rm(work, { recursive: true, force: true });
}

/** Measures in Node and in workerd, and prints the table. */
async function report({ kernels, manifest, parameters, packageBytes, splitMs }: Subjects): Promise<void> {
  say(`measuring in Node: ${rounds} rounds`);
  const node = await measureInNode(join(work, "package"), kernels);
  let workerd: All | null = null;
  if (!options["skip-workerd"]) {
    say(`measuring in workerd: ${rounds} rounds`);
    workerd = await measureInWorkerd(join(work, "package"), join(work, "state"), kernels, rounds);
  }

  const columns = [node, ...(workerd ? [workerd] : [])];
  console.log(
    formatTable(
      ["", "NODE", ...(workerd ? ["WORKERD"] : [])],
      ROWS.map(([key, what, digits]) => [what, ...columns.map((figures) => figures[key].toFixed(digits).padStart(8))]),
    ),
  );
  console.log(
    `\nT5-small's shape, ${(parameters / 1e6).toFixed(1)}M parameters, int8, one thread, ${kernels} kernels; a step reads ` +
      `${(stepBytes(manifest) / 1e6).toFixed(1)} MB of weights; medians of ${rounds} rounds, ${STEPS} steps each.`,
  );
  if (options.json) {
    const figures: Record<string, number> = { split_ms: round(splitMs), package_mb: round(packageBytes / 1e6) };
    for (const [key] of ROWS) {
      figures[`${key}_node`] = round(node[key]);
      if (workerd) figures[`${key}_workerd`] = round(workerd[key]);
    }
    const shape = { model: "t5-small, random weights", bits: 8, prompt_tokens: PROMPT_TOKENS, position: 32 };
    console.log(JSON.stringify({ figures, kernels, rounds, ...shape, machine: machine(), versions: await versions() }));
  }
}

/** In a process of its own, with nothing else in its heap. */
async function measureInNode(dir: string, kernels: KernelName): Promise<All> {
  const script = fileURLToPath(new URL("./node-run.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", script, dir, kernels, String(rounds)]);
  return JSON.parse(stdout) as All;
}

function machine() {
  const [cpu] = cpus();
  return { cpu: cpu?.model.trim() ?? "unknown", cores: cpus().length, memory_gb: Math.round(totalmem() / 1e9) };
}

async function versions() {
  const versionOf = async (name: string) => {
    const path = createRequire(import.meta.url).resolve(`${name}/package.json`);
    return (JSON.parse(await readFile(path, "utf8")) as { version: string }).version;
  };
  return {
    node: process.versions.node,
    v8: process.versions.v8,
    workerd: await versionOf("workerd"),
    assemblyscript: await versionOf("assemblyscript"),
    "edge-t5": (
      JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }
    ).version,
  };
}

function round(value: number): number {
  return Number(value.toPrecision(5));
}

function fail(message: string): never {
  console.error(`E_USAGE: ${message}\n\n${HELP}`);
  process.exit(1);
}
