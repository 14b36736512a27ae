/** Runs every reference case of every model folder in a directory. */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type Bits, splitCheckpoint } from "../../model-split/index.ts";
import { SafetensorsFile } from "../../model-split/safetensors.ts";
import { EdgeT5Error } from "../errors.ts";
import { FolderStore } from "../store/folder.ts";
import type { EngineLoader } from "../t5/engine.ts";
import { compareCase, type Subject, sizeOf, unsupported } from "./compare.ts";
import { type Expected, readExpected } from "./format.ts";

export interface KindReport {
  model: string;
  kind: string;
  run: number;
  equal: number;
  /** Largest over the cases run; null when no case gave one. */
  largestDifference: number | null;
}

export interface NotRun {
  model: string;
  /** What is missing here: a kind, parameters, a model type. */
  what: string;
  cases: number;
}

export interface GoldenReport {
  kinds: KindReport[];
  notRun: NotRun[];
  /** Cases that were run and are not equal. */
  mismatches: number;
}

export interface GoldenOptions {
  bits: Bits;
  engine: EngineLoader;
  onModel?: ((done: number, total: number, model: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** @throws EdgeT5Error `E_INPUT` when the directory holds no model folder, or a reference file is malformed */
export async function runGolden(dir: string, options: GoldenOptions): Promise<GoldenReport> {
  const folders = await modelFolders(dir);
  const report: GoldenReport = { kinds: [], notRun: [], mismatches: 0 };
  for (const [done, folder] of folders.entries()) {
    options.signal?.throwIfAborted();
    options.onModel?.(done, folders.length, basename(folder));
    await runModel(folder, options, report);
  }
  options.onModel?.(folders.length, folders.length, "");
  for (const { run, equal } of report.kinds) report.mismatches += run - equal;
  return report;
}

/** The directory itself, or the folders in it, that hold a `config.json`. */
async function modelFolders(dir: string): Promise<string[]> {
  const isModel = (folder: string) => existsSync(join(folder, "config.json"));
  if (isModel(dir)) return [dir];
  const entries = await readdir(dir, { withFileTypes: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new EdgeT5Error("E_INPUT", `${dir} cannot be listed (${cause.code}). Give a directory of model folders.`, {
      cause,
    });
  });
  const folders = entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(dir, name))
    .filter(isModel)
    .sort();
  if (folders.length === 0) {
    throw new EdgeT5Error("E_INPUT", `${dir} holds no model folder (one with a config.json). Give their parent.`);
  }
  return folders;
}

async function runModel(folder: string, options: GoldenOptions, report: GoldenReport): Promise<void> {
  const model = basename(folder);
  if (!existsSync(join(folder, "expected.json"))) {
    report.notRun.push({ model, what: "no expected.json", cases: 0 });
    return;
  }
  const expected = await readExpected(folder);
  const runnable = expected.cases.filter((golden) => unsupported(golden) === null);
  for (const [what, cases] of count(expected.cases.map(unsupported))) report.notRun.push({ model, what, cases });

  const scratch = await mkdtemp(join(tmpdir(), "edge-t5-golden-"));
  try {
    const tensors = await SafetensorsFile.open(join(folder, "expected.safetensors"));
    try {
      const subject = await load(folder, scratch, expected, tensors, options);
      report.kinds.push(...(await runCases(model, subject, expected.inputs, runnable, options.signal)));
    } finally {
      await tensors.close();
    }
  } catch (error) {
    if (!(error instanceof EdgeT5Error && error.code === "E_ARCHITECTURE")) throw error;
    report.notRun.push({ model, what: error.message, cases: runnable.length });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function load(
  folder: string,
  scratch: string,
  { inputs, cases }: Expected,
  tensors: SafetensorsFile,
  { bits, engine, signal }: GoldenOptions,
): Promise<Subject> {
  const sizes = cases.flatMap((each) => (each.parsed && unsupported(each) === null ? [sizeOf(each.parsed)] : []));
  const { manifest } = await splitCheckpoint(folder, scratch, { bits, ...(signal && { signal }) });
  const { encoder, decoder } = await engine({
    manifest,
    store: new FolderStore(scratch),
    roles: ["encoder", "decoder"],
    limits: {
      maxInputTokens: Math.max(1, ...inputs.map((ids) => ids.length)),
      maxNewTokens: Math.max(1, ...sizes.map(({ newTokens }) => newTokens)),
      maxSequences: Math.max(1, ...sizes.map(({ sequences }) => sequences)),
    },
  });
  return { encoder, decoder, exact: bits === 32, tensor: (name) => readTensor(tensors, name) };
}

export async function readTensor(file: SafetensorsFile, name: string): Promise<Float32Array> {
  const entry = file.tensors.get(name);
  if (!entry) throw new EdgeT5Error("E_INPUT", `${file.path} has no tensor ${name}. Copy the reference folder again.`);
  const values = new Float32Array(entry.shape.reduce((product, n) => product * n, 1));
  let done = 0;
  for await (const rows of file.rows(name)) {
    values.set(rows, done);
    done += rows.length;
  }
  return values;
}

async function runCases(
  model: string,
  subject: Subject,
  inputs: readonly number[][],
  cases: Expected["cases"],
  signal: AbortSignal | undefined,
): Promise<KindReport[]> {
  const kinds = new Map<string, KindReport>();
  for (const { kind, parsed } of cases) {
    signal?.throwIfAborted();
    if (!parsed) continue;
    const report = kinds.get(kind) ?? { model, kind, run: 0, equal: 0, largestDifference: null };
    kinds.set(kind, report);
    const { equal, difference } = await compareCase(subject, inputs[parsed.input] ?? [], parsed);
    report.run++;
    if (equal) report.equal++;
    if (difference !== null) report.largestDifference = Math.max(report.largestDifference ?? 0, difference);
  }
  return [...kinds.values()];
}

function count(reasons: readonly (string | null)[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const reason of reasons) if (reason) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return counts;
}
