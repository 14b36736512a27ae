/**
 * `npm run bench -- --training [--python PATH] [--rounds N] [--json]`: tokens a second of a training step (forward, backward,
 * clipping, AdamW; float32) on the processor, beside PyTorch with transformers where a Python has them. In turn, medians.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { formatTable } from "../../src/cli/output.ts";
import { T5_SMALL } from "./checkpoint.ts";

export interface TrainingSubject {
  name: string;
  config: Record<string, unknown>;
  rows: number;
  inputTokens: number;
  targetTokens: number;
  threads: number;
  rounds: number;
}

/** The packaged default model's architecture. */
const DEFAULT_MODEL = {
  vocab_size: 8064,
  d_model: 256,
  d_kv: 32,
  d_ff: 1024,
  num_heads: 8,
  num_layers: 4,
  num_decoder_layers: 2,
};

const SUBJECTS: readonly Omit<TrainingSubject, "threads" | "rounds">[] = [
  { name: "default", config: DEFAULT_MODEL, rows: 32, inputTokens: 64, targetTokens: 32 },
  { name: "t5-small", config: small(), rows: 8, inputTokens: 128, targetTokens: 32 },
];

/** How often each side runs, in turn: what else the machine does falls on both. */
const TURNS = 3;

export interface TrainingFigures {
  figures: Record<string, number>;
  table: string;
}

export async function measureTraining(python: string, rounds: number, threads: number): Promise<TrainingFigures> {
  const folder = await mkdtemp(join(tmpdir(), "edge-t5-bench-training-"));
  const figures: Record<string, number> = {};
  const rows: (string | number)[][] = [];
  let peer = "PYTORCH: not installed";
  try {
    for (const subject of SUBJECTS) {
      const path = join(folder, `${subject.name}.json`);
      // Dropout would be noise: neither side has it.
      const config = { ...subject.config, dropout_rate: 0 };
      await writeFile(path, JSON.stringify({ ...subject, config, threads, rounds }));
      const [ours, theirs]: [number[], number[]] = [[], []];
      for (let turn = 0; turn < TURNS; turn++) {
        ours.push(...(await run(process.execPath, "training-run.ts", path))!.seconds);
        const other = await run(python, "training-peer.py", path);
        theirs.push(...(other?.seconds ?? []));
        if (other?.versions) peer = `PYTORCH ${other.versions.torch}`;
      }
      const tokens = subject.rows * (subject.inputTokens + subject.targetTokens);
      const key = subject.name.replace("-", "_");
      figures[`training_${key}_tokens_per_s`] = tokens / median(ours);
      if (theirs.length > 0) {
        figures[`training_${key}_pytorch_tokens_per_s`] = tokens / median(theirs);
        figures[`training_${key}_over_pytorch`] = median(theirs) / median(ours);
      }
      const speed = (seconds: number[]) => (seconds.length === 0 ? "–" : (tokens / median(seconds)).toFixed(0));
      const ratio = theirs.length === 0 ? "–" : (median(theirs) / median(ours)).toFixed(2);
      const batch = `${subject.rows} × (${subject.inputTokens} + ${subject.targetTokens})`;
      rows.push([subject.name, batch, speed(ours), speed(theirs), ratio]);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const heads = ["TRAINING STEP, TOKENS/S", "BATCH", "EDGE-T5", peer, "EDGE-T5 ÷ PYTORCH"];
  return { figures, table: formatTable(heads, rows) };
}

interface Result {
  seconds: number[];
  versions?: Record<string, string>;
}

/** Null where the program has not what it needs. */
async function run(program: string, script: string, subject: string): Promise<Result | null> {
  try {
    const path = fileURLToPath(new URL(`./${script}`, import.meta.url));
    const { stdout } = await promisify(execFile)(program, [path, subject]);
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Result;
  } catch (error) {
    const { stderr = "", code } = error as { stderr?: string; code?: string | number };
    if (code === "ENOENT" || /No module named '(torch|transformers)'/.test(stderr)) return null;
    throw error;
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function small(): Record<string, unknown> {
  const { architectures: _, model_type: __, tie_word_embeddings: ___, ...config } = T5_SMALL;
  return config;
}
