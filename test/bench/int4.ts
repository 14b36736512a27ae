/**
 * The same checkpoint at int4 and at int8, in turn in one process of Node: what half the bytes cost in time. Run by main.ts, and as
 * `node int4.ts INT8_PACKAGE INT4_PACKAGE KERNELS ROUNDS` it is that process.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { formatTable } from "../../src/cli/output.ts";
import type { KernelName } from "../../src/kernels/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { FLOORS_DIR } from "./floors-build.ts";
import { median } from "./measure.ts";
import { type Operation, SINGLE_STEPS, Subject } from "./subject.ts";

export interface Int4Figures {
  int4_step_ms: number;
  int4_step_over_int8: number;
  /** Four sequences in one pass. */
  int4_step4_over_int8: number;
  int4_encode128_ms: number;
  int4_encode128_over_int8: number;
  int4_wasm_over_int8: number;
}

/** @param int8 the package's folder; @param int4 the same checkpoint's at int4 */
export async function measureInt4(
  int8: string,
  int4: string,
  kernels: KernelName,
  rounds: number,
): Promise<Int4Figures> {
  const script = fileURLToPath(import.meta.url);
  const { stdout } = await promisify(execFile)(process.execPath, [script, int8, int4, kernels, String(rounds)]);
  return JSON.parse(stdout) as Int4Figures;
}

export function int4Table(figures: Int4Figures): string {
  const row = (what: string, value: number, digits: number) => [what, value.toFixed(digits).padStart(8)];
  return formatTable(
    ["INT4 (NODE)", ""],
    [
      row("token step (prompt 128, position 32), ms", figures.int4_step_ms, 3),
      row("token step ÷ int8's", figures.int4_step_over_int8, 2),
      row("step of four sequences ÷ int8's", figures.int4_step4_over_int8, 2),
      row("encode(128), ms", figures.int4_encode128_ms, 1),
      row("encode(128) ÷ int8's", figures.int4_encode128_over_int8, 2),
      row("WASM memory ÷ int8's", figures.int4_wasm_over_int8, 2),
    ],
  );
}

async function measureHere(dirs: readonly string[], name: KernelName, rounds: number): Promise<Int4Figures> {
  const kernels = await loadKernels(name);
  const floors = await WebAssembly.compile(new Uint8Array(await readFile(join(FLOORS_DIR, `floors-${name}.wasm`))));
  const subjects = await Promise.all(dirs.map((dir) => Subject.load(new FolderStore(dir), kernels, floors)));
  const timed = [
    ["step", "prepare", "steps"],
    ["step4", "prepare-beams", "beam-steps"],
    ["encode", "nothing", "encode"],
  ] as const satisfies readonly (readonly [string, Operation, Operation])[];
  const times = new Map(timed.map(([key]) => [key, subjects.map((): number[] => [])]));
  // The first round is for V8 to find out what is hot.
  for (let round = -1; round < rounds; round++) {
    for (const [key, before, operation] of timed) {
      for (const [i, subject] of subjects.entries()) {
        await subject.run(before);
        const started = performance.now();
        await subject.run(operation);
        if (round >= 0) times.get(key)?.[i]?.push(performance.now() - started);
      }
    }
  }
  const figure = (key: (typeof timed)[number][0]) => {
    const [int8 = [], int4 = []] = times.get(key) ?? [];
    return { ms: median(int4), ratio: median(int4.map((ms, i) => ms / (int8[i] as number))) };
  };
  const [step, step4, encode] = [figure("step"), figure("step4"), figure("encode")];
  const [int8, int4] = subjects.map(({ engine }) => engine.memoryBytes);
  return {
    int4_step_ms: step.ms / SINGLE_STEPS,
    int4_step_over_int8: step.ratio,
    int4_step4_over_int8: step4.ratio,
    int4_encode128_ms: encode.ms,
    int4_encode128_over_int8: encode.ratio,
    int4_wasm_over_int8: (int4 ?? 0) / (int8 ?? 1),
  };
}

if (import.meta.main) {
  const [int8 = "", int4 = "", name = "", rounds = "0"] = process.argv.slice(2);
  console.log(JSON.stringify(await measureHere([int8, int4], name as KernelName, Number(rounds))));
}
