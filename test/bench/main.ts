/**
 * `npm run bench [-- --json] [--only a,b] [--rounds N] [--kernels relaxed|plain] [--skip-workerd]`: T5-small's shape at int8, one
 * thread, in Node and in workerd, each figure beside its floor, its peers or its target.
 *
 * Every engine and its floors run in one process and in turn; figures are medians over the rounds, ratios medians of
 * each round's ratio. With `--json` the last line of stdout is one object: figures by key, machine and versions.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
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
import { bundleTable, measureBundles } from "./bundles.ts";
import { T5_SMALL, TRAINED_RELU_SHIFT, writeRandomCheckpoint } from "./checkpoint.ts";
import { coldTable, measureColdInNode, measureColdInWorkerd } from "./cold.ts";
import { draftTable, measureDrafts } from "./drafts.ts";
import { floodTable, measureFlood } from "./flood.ts";
import { buildFloors } from "./floors-build.ts";
import { int4Table, measureInt4 } from "./int4.ts";
import type { Figures } from "./measure.ts";
import { measureMemoryInNode, measureMemoryInWorkerd, memoryTable, peakMb } from "./memory.ts";
import { makeBenchPackage } from "./package.ts";
import { measurePeersInNode, measurePeersInWorkerd, peerTable } from "./peers.ts";
import { profile } from "./profile.ts";
import { ceilingOf, measureStreamsInNode, measureStreamsInWorkerd, reportStreams, streamTable } from "./streams.ts";
import { PROMPT_TOKENS, SINGLE_STEPS, stepBytes } from "./subject.ts";
import { targetTable } from "./targets.ts";
import { measureTraining } from "./training.ts";
import {
  CHROMIUM,
  generationTable,
  measureGenerationInChromium,
  measureGenerationInNode,
  prepareGeneration,
} from "./transformers-js.ts";
import { type MemoryFigures, measureInWorkerd } from "./workerd-run.ts";

const HELP = `Usage: npm run bench -- [options]

  --only a,b         of engine, int4, peers, streams, flood, memory, cold, bundles, drafts, transformers-js; default: all
  --json             last line of stdout: one JSON object with all figures
  --rounds N         rounds of measuring; default 15
  --trained-zeros    relu's zeros as many as trained models have, six of seven; without it half, as random weights have
  --kernels NAME     relaxed or plain; default: what the kit chooses on this machine
  --skip-workerd     Node only
  --profile          where a step's time goes, kernel by kernel, and nothing else
  --training         a training step, beside PyTorch's where it is installed, and nothing else
  --python PATH      the Python that has torch and transformers; default python3
  --threads N        of a training step; default 2

Examples:
  npm run bench
  npm run bench -- --only engine --rounds 31
  npm run bench -- --only engine,peers --trained-zeros
  npm run bench -- --json --only engine,peers | tail -n 1
  npm run bench -- --training --python ./venv/bin/python
`;

/** A step of T5-small takes more than a second. */
const TRAINING_ROUNDS = 5;

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    only: { type: "string" },
    rounds: { type: "string", default: "15" },
    "trained-zeros": { type: "boolean", default: false },
    kernels: { type: "string" },
    "skip-workerd": { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    training: { type: "boolean", default: false },
    python: { type: "string", default: "python3" },
    threads: { type: "string", default: "2" },
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

if (options.training) {
  const threads = Number(options.threads);
  if (!Number.isInteger(threads) || threads < 1)
    fail(`--threads is ${options.threads}; give a whole number of at least 1.`);
  const { figures, table } = await measureTraining(options.python, Math.min(rounds, TRAINING_ROUNDS), threads);
  console.log(`${table}\n\nfloat32, ${threads} threads, medians. ${machine().cpu}.`);
  const rounded = Object.fromEntries(Object.entries(figures).map(([key, value]) => [key, round(value)]));
  if (options.json)
    console.log(JSON.stringify({ figures: rounded, threads, machine: machine(), versions: await versions() }));
  process.exit(0);
}

/** A round over HTTP takes seconds. */
const STREAM_ROUNDS = 5;

const SECTIONS: Readonly<
  Record<string, (subjects: Subjects, known: Readonly<Record<string, number>>) => Promise<Section>>
> = {
  engine: engineSection,
  int4: int4Section,
  peers: peersSection,
  streams: streamsSection,
  flood: floodSection,
  memory: memorySection,
  cold: coldSection,
  bundles: bundlesSection,
  drafts: draftsSection,
  "transformers-js": transformersJsSection,
};
const wanted = options.only?.split(",").map((name) => name.trim()) ?? Object.keys(SECTIONS);
const unknown = wanted.find((name) => !(name in SECTIONS));
if (unknown !== undefined) fail(`--only has ${unknown}; it can be ${Object.keys(SECTIONS).join(", ")}.`);
const inWorkers = !options["skip-workerd"];
const reluShift = options["trained-zeros"] ? TRAINED_RELU_SHIFT : 0;

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
const packageDir = join(work, "package");
const int4Dir = join(work, "int4");
let packageWithTokenizer = "";
try {
  const kernels: KernelName = options.kernels ?? (await loadKernels()).name;
  say("building the floors");
  await buildFloors();
  say("making a checkpoint of T5-small's shape with random weights (seed 1), and splitting it at int8");
  await writeRandomCheckpoint(join(work, "checkpoint"), T5_SMALL, 1, reluShift);
  const started = performance.now();
  const { manifest, parameters, packageBytes } = await splitCheckpoint(
    join(work, "checkpoint"),
    join(work, "package"),
    {
      name: "bench",
    },
  );
  const splitMs = performance.now() - started;
  if (wanted.includes("int4")) await splitCheckpoint(join(work, "checkpoint"), int4Dir, { name: "bench", bits: 4 });
  await rm(join(work, "checkpoint"), { recursive: true });
  if (options.profile) {
    console.log(await profile(packageDir, kernels));
  } else {
    if (["memory", "cold", "streams", "flood"].some((name) => wanted.includes(name))) {
      await mkdir(join(work, "text"));
      packageWithTokenizer = await makeBenchPackage(join(work, "text"), reluShift);
    }
    await report({ kernels, manifest, parameters, packageBytes, splitMs });
  }
} finally {
  await rm(work, { recursive: true, force: true });
}

/** Measures what was asked for, section by section, and prints a table each. */
async function report(subjects: Subjects): Promise<void> {
  const figures: Record<string, number> = {
    split_ms: round(subjects.splitMs),
    package_mb: round(subjects.packageBytes / 1e6),
  };
  for (const [name, measureSection] of Object.entries(SECTIONS)) {
    if (!wanted.includes(name)) continue;
    say(`measuring: ${name}`);
    const section = await measureSection(subjects, figures);
    for (const [key, value] of Object.entries(section.figures)) figures[key] = round(value);
    console.log(`${section.table}\n`);
  }
  console.log(targetTable(figures));
  const { parameters, manifest, kernels } = subjects;
  console.log(
    `\nT5-small's shape, ${(parameters / 1e6).toFixed(1)}M parameters, ${reluShift ? "six of seven units zero, " : ""}` +
      `int8, one thread, ${kernels} kernels; a step has ` +
      `${(stepBytes(manifest) / 1e6).toFixed(1)} MB of weights; medians of ${rounds} rounds, ${SINGLE_STEPS} steps each. ${machine().cpu}.`,
  );
  if (options.json) {
    const shape = {
      model: `t5-small, random weights${reluShift ? ", trained zeros" : ""}`,
      bits: 8,
      prompt_tokens: PROMPT_TOKENS,
      position: 32,
    };
    console.log(JSON.stringify({ figures, kernels, rounds, ...shape, machine: machine(), versions: await versions() }));
  }
}

interface Section {
  figures: Record<string, number>;
  table: string;
}

async function engineSection({ kernels }: Subjects): Promise<Section> {
  const node = await measureInNode(packageDir, kernels);
  const workerd = inWorkers ? await measureInWorkerd(packageDir, join(work, "state"), kernels, rounds) : null;
  const columns = [node, ...(workerd ? [workerd] : [])];
  const figures: Record<string, number> = {};
  for (const [key] of ROWS) {
    figures[`${key}_node`] = node[key];
    if (workerd) figures[`${key}_workerd`] = workerd[key];
  }
  const table = formatTable(
    ["", "NODE", ...(workerd ? ["WORKERD"] : [])],
    ROWS.map(([key, what, digits]) => [what, ...columns.map((each) => each[key].toFixed(digits).padStart(8))]),
  );
  return { figures, table };
}

async function int4Section({ kernels }: Subjects): Promise<Section> {
  const figures = await measureInt4(packageDir, int4Dir, kernels, rounds);
  return { figures: { ...figures }, table: int4Table(figures) };
}

async function peersSection(): Promise<Section> {
  const figures = await measurePeersInNode(packageDir, rounds);
  if (inWorkers) Object.assign(figures, await measurePeersInWorkerd(packageDir, join(work, "peers"), rounds));
  return { figures, table: peerTable(figures) };
}

async function streamsSection(subjects: Subjects, known: Readonly<Record<string, number>>): Promise<Section> {
  const floors = "read_gb_per_s_node" in known ? known : (await engineSection(subjects)).figures;
  const { kernels } = subjects;
  const ceiling = (place: string) => (streams: number) =>
    ceilingOf(streams, kernels, floors[`read_gb_per_s_${place}`] ?? 0, floors[`dot_gmac_per_s_${place}`] ?? 0);
  const node = reportStreams("node", await measureStreamsInNode(packageDir, kernels, rounds), ceiling("node"));
  if (!inWorkers) return { figures: node.figures, table: streamTable(node.rows) };
  const workerd = reportStreams(
    "workerd",
    await measureStreamsInWorkerd(packageWithTokenizer, work, STREAM_ROUNDS),
    ceiling("workerd"),
  );
  return { figures: { ...node.figures, ...workerd.figures }, table: streamTable([...node.rows, ...workerd.rows]) };
}

async function floodSection(): Promise<Section> {
  if (!inWorkers) return { figures: {}, table: "flood: runs in workerd only" };
  const figures = await measureFlood(packageWithTokenizer, work);
  return { figures: { ...figures }, table: floodTable(figures) };
}

async function memorySection(): Promise<Section> {
  const node = await measureMemoryInNode(packageWithTokenizer);
  const workerd = inWorkers ? await measureMemoryInWorkerd(packageWithTokenizer, work) : [];
  const figures = { peak_mb_node: peakMb(node), ...(inWorkers && { peak_mb_workerd: peakMb(workerd) }) };
  return { figures, table: memoryTable(node, workerd) };
}

async function coldSection(): Promise<Section> {
  const node = await measureColdInNode(packageWithTokenizer);
  const workerd = inWorkers ? await measureColdInWorkerd(packageWithTokenizer, work) : null;
  const figures = {
    first_token_ms_node: node.first_token_ms,
    ...(workerd && { first_token_ms_workerd: workerd.first_token_ms }),
  };
  return { figures, table: coldTable(node, workerd) };
}

async function bundlesSection(): Promise<Section> {
  const figures = await measureBundles();
  return { figures: { ...figures }, table: bundleTable(figures) };
}

async function draftsSection(): Promise<Section> {
  const figures = await measureDrafts();
  return { figures: { ...figures }, table: draftTable(figures) };
}

async function transformersJsSection(): Promise<Section> {
  const folder = join(work, "transformers-js");
  await mkdir(folder);
  const places = await prepareGeneration(folder);
  const figures = await measureGenerationInNode(places, rounds);
  if (existsSync(CHROMIUM)) Object.assign(figures, await measureGenerationInChromium(places, folder, rounds));
  return { figures, table: generationTable(figures) };
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
