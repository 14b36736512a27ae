/** Hugging Face's outputs with LoRA adapters: every adapter folder in a directory, on one base. */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import * as z from "zod";
import { type Bits, splitCheckpoint } from "../../model-split/index.ts";
import { EdgeT5Error } from "../errors.ts";
import { FolderStore } from "../store/folder.ts";
import { ADAPTER_CONFIG, readAdapter } from "../t5/adapter.ts";
import type { EngineLoader, HeldAdapter } from "../t5/engine.ts";
import { generate } from "../t5/generate.ts";
import { scoreLabels } from "../t5/generation/labels.ts";
import { argmax } from "../t5/generation/scores.ts";
import { readManifest } from "../t5/manifest.ts";
import { encodeLabels, TextToText } from "../t5/model.ts";
import { loadTokenizer } from "../t5/tokenizer.ts";
import { largestDifference, sameIds, TOLERANCE } from "./compare.ts";
import type { GoldenReport, KindReport } from "./run.ts";

const ids = z.array(z.int().nonnegative()).min(1);

/** A line of `expected.jsonl`: the reference's greedy answer, and its scores of labels where it has some. */
const rowSchema = z.object({
  input_ids: ids,
  greedy_ids: ids,
  labels: z.array(z.string()).min(1).optional(),
  logprobs: z.array(z.number()).optional(),
});
type Row = z.infer<typeof rowSchema>;

/** What the adapters are for: a checkpoint, split as it is called for, or a package. */
export type Base = { checkpoint: string; bits: Bits } | { package: string };

export interface AdapterGoldenOptions {
  base: Base;
  engine: EngineLoader;
  onModel?: ((done: number, total: number, model: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Answers decoded side by side. */
const TOGETHER = 8;

/**
 * @throws EdgeT5Error `E_INPUT` when the directory holds no adapter folder, or a reference file is malformed; `E_ADAPTER` for
 * an adapter that does not fit the base
 */
export async function runAdapterGolden(
  dir: string,
  { base, engine, onModel, signal }: AdapterGoldenOptions,
): Promise<GoldenReport & { bits: Bits }> {
  const folders = await adapterFolders(dir);
  const rows = await Promise.all(folders.map(readRows));
  const scratch = await mkdtemp(join(tmpdir(), "edge-t5-golden-"));
  try {
    const folder = "package" in base ? base.package : scratch;
    if ("checkpoint" in base)
      await splitCheckpoint(base.checkpoint, scratch, { bits: base.bits, ...(signal && { signal }) });
    const { model, bits } = await load(folder, rows.flat(), engine);
    const report: GoldenReport & { bits: Bits } = { bits, kinds: [], notRun: [], mismatches: 0 };
    for (const [i, path] of folders.entries()) {
      signal?.throwIfAborted();
      onModel?.(i, folders.length, basename(path));
      const adapter = await model.loadAdapter(await readAdapter(new FolderStore(path)), path);
      const held = await model.adapters.acquire(adapter.id, async () => adapter.files, signal);
      try {
        report.kinds.push(...(await compareRows(model, held, basename(path), rows[i] ?? [], bits === 32, signal)));
      } finally {
        held.release();
      }
    }
    onModel?.(folders.length, folders.length, "");
    for (const { run, equal } of report.kinds) report.mismatches += run - equal;
    return report;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The directory itself, or the folders in it, that hold an `adapter_config.json`. */
async function adapterFolders(dir: string): Promise<string[]> {
  const isAdapter = (folder: string) => existsSync(join(folder, ADAPTER_CONFIG));
  if (isAdapter(dir)) return [dir];
  const names = await readdir(dir).catch((): string[] => []);
  const folders = names.map((name) => join(dir, name)).filter(isAdapter);
  if (folders.length > 0) return folders.sort();
  throw new EdgeT5Error(
    "E_INPUT",
    `${dir} holds no adapter folder (one with an ${ADAPTER_CONFIG}). Give their parent.`,
  );
}

async function readRows(folder: string): Promise<Row[]> {
  const path = join(folder, "expected.jsonl");
  const malformed = (what: string, cause?: unknown) =>
    new EdgeT5Error("E_INPUT", `${path}: ${what}. Copy the reference folder again.`, { cause });
  const text = await readFile(path, "utf8").catch((cause) => {
    throw malformed("cannot be read", cause);
  });
  return text
    .trim()
    .split("\n")
    .map((line, i) => {
      let json: unknown;
      try {
        json = JSON.parse(line);
      } catch (cause) {
        throw malformed(`line ${i + 1} is not JSON`, cause);
      }
      const row = rowSchema.safeParse(json);
      if (row.success) return row.data;
      const issue = row.error.issues[0];
      throw malformed(`line ${i + 1}: ${issue?.path.join(".") || "(root)"}: ${issue?.message}`);
    });
}

async function load(
  folder: string,
  rows: readonly Row[],
  engine: EngineLoader,
): Promise<{ model: TextToText; bits: Bits }> {
  const store = new FolderStore(folder);
  const manifest = await readManifest(store);
  const parts = await engine({
    manifest,
    store,
    roles: ["encoder", "decoder"],
    limits: {
      maxInputTokens: Math.max(...rows.map(({ input_ids }) => input_ids.length)),
      maxNewTokens: Math.max(...rows.map(({ greedy_ids }) => greedy_ids.length)),
      maxSequences: TOGETHER,
    },
  });
  return {
    model: new TextToText({ ...parts, tokenizer: await loadTokenizer(manifest, store) }),
    bits: manifest.quantization.bits,
  };
}

async function compareRows(
  { encoder, decoder, tokenizer }: TextToText,
  adapter: HeldAdapter,
  model: string,
  rows: readonly Row[],
  exact: boolean,
  signal: AbortSignal | undefined,
): Promise<KindReport[]> {
  const greedy: KindReport = { model, kind: "greedy", run: 0, equal: 0, largestDifference: null };
  const labels: KindReport = { model, kind: "labels", run: 0, equal: 0, largestDifference: null };
  for (let first = 0; first < rows.length; first += TOGETHER) {
    const group = rows.slice(first, first + TOGETHER);
    const encoded = [];
    for (const { input_ids } of group) encoded.push(await encoder.encode(input_ids, undefined, adapter));
    const inputs = encoded.map((hidden) => ({ hidden, maxNewTokens: decoder.maxNewTokens, adapter }));
    const answers: number[][] = group.map(() => []);
    for await (const { index, token } of generate(decoder, inputs, { signal })) answers[index]?.push(token);
    for (const [i, row] of group.entries()) {
      greedy.run++;
      if (sameIds(answers[i] ?? [], row.greedy_ids)) greedy.equal++;
      if (!row.labels || !row.logprobs) continue;
      const hidden = encoded[i] as Float32Array;
      const scored = await scoreLabels(decoder, { hidden, adapter }, encodeLabels(row.labels, tokenizer), signal);
      const difference = largestDifference(scored.logprobs, row.logprobs);
      const isSame = argmax(Float32Array.from(scored.logprobs)) === argmax(Float32Array.from(row.logprobs));
      labels.run++;
      if (isSame && (!exact || difference <= TOLERANCE)) labels.equal++;
      labels.largestDifference = Math.max(labels.largestDifference ?? 0, difference);
    }
  }
  return [greedy, labels].filter(({ run }) => run > 0);
}
