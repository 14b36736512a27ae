/**
 * `npm run bench:beams [-- --json]`: what several beams cost beside one, T5-small's shape at int8 in Node: a step of so
 * many rows, and a position of a whole search (with its scores of the vocabulary).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { splitCheckpoint } from "../../model-split/index.ts";
import { formatTable } from "../../src/cli/output.ts";
import { loadSimdEngine, type SimdEngine } from "../../src/engines/simd/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { generate } from "../../src/t5/generate.ts";
import { parseGenerationParams } from "../../src/t5/generation/config.ts";
import { writeRandomCheckpoint } from "./checkpoint.ts";
import { FIRST_POSITION, PROMPT_TOKENS, STEPS } from "./subject.ts";

const BEAMS = [1, 2, 4, 8];
const ROUNDS = 15;
const NEW_TOKENS = 48;

async function stepTime({ decoder }: SimdEngine, hidden: Float32Array, beams: number): Promise<number> {
  const sequences = await decoder.openAll([{ hidden, maxNewTokens: NEW_TOKENS, copies: beams }]);
  const tokens = sequences.map(() => 0);
  for (let i = 0; i < FIRST_POSITION; i++) await decoder.step(sequences, tokens);
  const started = performance.now();
  for (let i = 0; i < STEPS; i++) await decoder.step(sequences, tokens);
  const time = (performance.now() - started) / STEPS;
  for (const sequence of sequences) decoder.close(sequence);
  return time;
}

async function positionTime({ decoder }: SimdEngine, hidden: Float32Array, beams: number): Promise<number> {
  const params = parseGenerationParams({ num_beams: beams, min_new_tokens: NEW_TOKENS, max_new_tokens: NEW_TOKENS });
  const started = performance.now();
  for await (const _ of generate(decoder, [{ hidden, maxNewTokens: NEW_TOKENS, params }]));
  return (performance.now() - started) / NEW_TOKENS;
}

const work = await mkdtemp(join(tmpdir(), "edge-t5-bench-"));
try {
  await writeRandomCheckpoint(join(work, "checkpoint"));
  const { manifest } = await splitCheckpoint(join(work, "checkpoint"), join(work, "package"), { name: "bench" });
  const kernels = await loadKernels();
  const limits = { maxInputTokens: PROMPT_TOKENS, maxNewTokens: NEW_TOKENS, maxSequences: Math.max(...BEAMS) };
  const store = new FolderStore(join(work, "package"));
  const engine = await loadSimdEngine({ manifest, store, kernels, roles: ["encoder", "decoder"], limits });
  const hidden = await engine.encoder.encode(Array.from({ length: PROMPT_TOKENS }, (_, i) => 100 + i));
  const times = BEAMS.map((beams) => ({ beams, steps: [] as number[], positions: [] as number[] }));
  // In turn, so that what disturbs one disturbs all.
  for (let round = 0; round < ROUNDS; round++) {
    for (const { beams, steps, positions } of times) {
      steps.push(await stepTime(engine, hidden, beams));
      positions.push(await positionTime(engine, hidden, beams));
    }
  }
  const median = (list: number[]) => list.sort((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
  const figures = times.map(({ beams, steps, positions }) => ({
    beams,
    step_ms: median(steps),
    position_ms: median(positions),
  }));
  const [one] = figures;
  if (process.argv.includes("--json")) console.log(JSON.stringify({ kernels: kernels.name, figures }));
  else {
    const rows = figures.map(({ beams, step_ms, position_ms }) => [
      beams,
      step_ms.toFixed(2),
      (step_ms / (one?.step_ms ?? 1)).toFixed(2),
      position_ms.toFixed(2),
      (position_ms / (one?.position_ms ?? 1)).toFixed(2),
    ]);
    console.log(formatTable(["BEAMS", "STEP, MS", "÷ ONE", "POSITION OF A SEARCH, MS", "÷ ONE"], rows));
    console.log(`\n${kernels.name} kernels`);
  }
} finally {
  await rm(work, { recursive: true, force: true });
}
