/** Where a step's and an encode's time goes, kernel by kernel: `npm run bench -- --profile`. Node only: workerd's clock stands still. */
import { formatTable } from "../../src/cli/output.ts";
import { loadSimdEngine } from "../../src/engines/simd/index.ts";
import type { KernelName, Kernels } from "../../src/kernels/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { type Manifest, readManifest } from "../../src/t5/manifest.ts";
import { FIRST_POSITION, PROMPT_TOKENS, prompt, STEPS } from "./subject.ts";

/** Time spent in a kernel, and what it was called for. */
interface Spent {
  ms: number;
  calls: number;
  /** Weight bytes read, of the linear kernels. */
  bytes: number;
}

const ROUNDS = 20;
/** Arguments of the linear kernels: k and n. */
const SHAPE_OF: Readonly<Record<string, { k: number; n: number; bits: number }>> = {
  linearI8: { k: 3, n: 7, bits: 8 },
  linearPairsI8: { k: 4, n: 7, bits: 8 },
  // As if all of its weights were read.
  reluLinearI8: { k: 2, n: 5, bits: 8 },
  linearI4: { k: 3, n: 6, bits: 4.5 },
  linearF32: { k: 2, n: 4, bits: 32 },
};

class Profile {
  readonly spent = new Map<string, Spent>();
  isOn = false;

  /** The same kernels with a clock before and after each call. */
  wrap(kernels: Kernels): Kernels {
    const wrapped = Object.entries(kernels as unknown as Record<string, unknown>).map(([name, kernel]) => {
      if (typeof kernel !== "function") return [name, kernel];
      const shape = SHAPE_OF[name];
      return [
        name,
        (...args: number[]) => {
          if (!this.isOn) return kernel(...args);
          const n = shape ? (args[shape.n] ?? 0) : 0;
          const k = shape ? (args[shape.k] ?? 0) : 0;
          const key = shape ? `${name} ${n} x ${k}` : name;
          const from = performance.now();
          const result: unknown = kernel(...args);
          const spent = this.spent.get(key) ?? { ms: 0, calls: 0, bytes: 0 };
          spent.ms += performance.now() - from;
          spent.calls++;
          spent.bytes += shape ? (n * k * shape.bits) / 8 : 0;
          this.spent.set(key, spent);
          return result;
        },
      ];
    });
    return Object.fromEntries(wrapped) as Kernels;
  }

  /** @param times how often what is shown was done */
  table(title: string, times: number, totalMs: number): string {
    const rows = [...this.spent]
      .sort(([, a], [, b]) => b.ms - a.ms)
      .map(([name, { ms, calls, bytes }]) => [
        name,
        (calls / times).toFixed(0).padStart(6),
        ((1000 * ms) / times).toFixed(1).padStart(9),
        `${((100 * ms) / totalMs).toFixed(1)} %`.padStart(7),
        bytes ? (bytes / ms / 1e6).toFixed(1).padStart(6) : "",
      ]);
    const inside = [...this.spent.values()].reduce((sum, { ms }) => sum + ms, 0);
    const outside = totalMs - inside;
    rows.push([
      "JavaScript and the clock",
      "",
      ((1000 * outside) / times).toFixed(1).padStart(9),
      `${((100 * outside) / totalMs).toFixed(1)} %`.padStart(7),
      "",
    ]);
    return `${title}: ${((1000 * totalMs) / times).toFixed(0)} us\n${formatTable(["KERNEL", "CALLS", "US", "SHARE", "GB/S"], rows)}`;
  }
}

/** Profiles token steps (prompt 128, around position 32; one stream and four) and encode(128). */
export async function profile(dir: string, name: KernelName): Promise<string> {
  const store = new FolderStore(dir);
  const manifest = await readManifest(store);
  const tables = [];
  for (const rows of [1, 4]) tables.push(await profileSteps(manifest, store, name, rows));
  tables.push(await profileEncode(manifest, store, name));
  return tables.join("\n\n");
}

async function load(manifest: Manifest, store: FolderStore, name: KernelName, rows: number) {
  const spent = new Profile();
  const engine = await loadSimdEngine({
    manifest,
    store,
    kernels: await loadKernels(name),
    roles: ["encoder", "decoder"],
    limits: { maxInputTokens: 512, maxNewTokens: 128, maxSequences: rows },
    wrapKernels: (kernels) => spent.wrap(kernels),
  });
  return { spent, engine };
}

async function profileSteps(manifest: Manifest, store: FolderStore, name: KernelName, rows: number): Promise<string> {
  const { spent, engine } = await load(manifest, store, name, rows);
  const { encoder, decoder } = engine;
  const hidden = await encoder.encode(prompt());
  const start = manifest.model.decoderStartTokenId;
  let total = 0;
  for (let round = -2; round < ROUNDS; round++) {
    const sequences = await decoder.openAll(Array.from({ length: rows }, () => ({ hidden, maxNewTokens: 128 })));
    const tokens = sequences.map(() => start);
    for (let i = 0; i < FIRST_POSITION; i++) await decoder.step(sequences, tokens);
    spent.isOn = round >= 0;
    const from = performance.now();
    for (let i = 0; i < STEPS; i++) (await decoder.step(sequences, tokens)).argmax(0);
    if (round >= 0) total += performance.now() - from;
    spent.isOn = false;
    for (const sequence of sequences) decoder.close(sequence);
  }
  const streams = rows === 1 ? "one stream" : `${rows} streams`;
  return spent.table(`A token step of ${streams} (prompt ${PROMPT_TOKENS}, position 32)`, ROUNDS * STEPS, total);
}

async function profileEncode(manifest: Manifest, store: FolderStore, name: KernelName): Promise<string> {
  const { spent, engine } = await load(manifest, store, name, 1);
  let total = 0;
  for (let round = -2; round < ROUNDS; round++) {
    spent.isOn = round >= 0;
    const from = performance.now();
    await engine.encoder.encode(prompt());
    if (round >= 0) total += performance.now() - from;
  }
  return spent.table(`encode(${PROMPT_TOKENS})`, ROUNDS, total);
}
