/** Exports a package for transformers.js (3.8 and later): the folder that `@huggingface/transformers` loads a T5 from. */
import { isDeepStrictEqual } from "node:util";
import { EdgeT5Error } from "../src/errors.ts";
import type { Graph } from "../src/onnx/graph.ts";
import { encodeModel } from "../src/onnx/model-proto.ts";
import { chunksOf } from "../src/store/chunks.ts";
import { FolderStore } from "../src/store/folder.ts";
import { createSha256 } from "../src/store/sha256.ts";
import type { StagedFile } from "../src/store/staged-file.ts";
import { readText, type Store } from "../src/store/store.ts";
import { layersIn } from "../src/t5/architecture.ts";
import { toHuggingFaceConfig } from "../src/t5/config.ts";
import type { Role } from "../src/t5/engine.ts";
import { mergedDecoderGraph } from "../src/t5/graph/merged-decoder.ts";
import type { Activations } from "../src/t5/graph/packaged-weights.ts";
import { encoderGraph, type GraphSource } from "../src/t5/graph/shards.ts";
import { ALIGNMENT, blobKey, type Manifest, readManifest, shardsOf } from "../src/t5/manifest.ts";
import { missingBlob, tokenizerFiles } from "./export-tokenizer.ts";

export interface ExportProgress {
  /** The file being written. */
  file: string;
  bytesDone: number;
  bytesTotal: number;
}

export interface ExportOptions {
  /** Of an int8 package. Default: `row`, the arithmetic of the kit's own engines. */
  activations?: Activations;
  /** Most bytes of a data file, where no blob has more. Default: what a browser's ArrayBuffer holds. */
  fileBytes?: number;
  onProgress?: (progress: ExportProgress) => void;
  /** Ends the export early: temporary files are removed, no `config.json` is written. */
  signal?: AbortSignal;
}

export interface ExportResult {
  out: string;
  name: string;
  /** What transformers.js calls these weights; `config.json` names it as the default. */
  dtype: Dtype;
  /** Paths in the folder. */
  files: { path: string; bytes: number }[];
  /** What a user should know and nothing failed for. */
  warnings: string[];
}

export type Dtype = "fp32" | "q8" | "q4";

/** What transformers.js calls weights of so many bits, and adds to their files' names (its utils/dtypes.js). */
const WEIGHTS: Record<Manifest["quantization"]["bits"], { dtype: Dtype; suffix: string }> = {
  32: { dtype: "fp32", suffix: "" },
  8: { dtype: "q8", suffix: "_quantized" },
  4: { dtype: "q4", suffix: "_q4" },
};

const FOLDER = "onnx";
const CONFIG = "config.json";
/** A browser's ArrayBuffer holds no more. */
const BROWSER_FILE_BYTES = 2 ** 31 - 1;

/** A stack's model file and its data files, each some of the package's blobs one after the other. */
interface PlannedModel {
  file: string;
  graph: Graph;
  data: PlannedData[];
}

interface PlannedData {
  file: string;
  blobs: { hash: string; offset: number; bytes: number }[];
  bytes: number;
}

interface StagedData {
  key: string;
  file: StagedFile;
}

/**
 * Writes `config.json`, `generation_config.json`, tokenizer files, and the encoder and merged decoder in `onnx/`, each a
 * small graph with its weights in a file beside it: the package's blobs, so that no export needs a model in memory, and none
 * is too large. Exports of one model at several precisions share a folder.
 *
 * Every file appears under its name when it is whole, `config.json` last: a killed export leaves a folder that does not load.
 *
 * @throws EdgeT5Error `E_PACKAGE_NOT_FOUND`, `E_MANIFEST`, `E_MANIFEST_VERSION`, `E_BLOB_MISSING`, `E_BLOB_CORRUPT`;
 * `E_USAGE` for activations that the package's weights do not have; the signal's reason when it aborts
 */
export async function exportForTransformersJs(
  store: Store,
  outDir: string,
  options: ExportOptions = {},
): Promise<ExportResult> {
  const manifest = await readManifest(store);
  const { bits } = manifest.quantization;
  if (options.activations === "matrix" && bits !== 8) {
    throw new EdgeT5Error(
      "E_USAGE",
      `Package ${manifest.name} has ${bits === 32 ? "float32" : "int4"} weights, whose activations stay float32. Leave --activations out.`,
    );
  }
  const models = planModels(manifest, options);
  const tokenizer = await tokenizerFiles(manifest, store);
  const out = new FolderStore(outDir);
  await out.removeStale([FOLDER]);
  const staged: StagedData[] = [];
  try {
    await stageData(manifest, store, models, out, staged, options);
    options.signal?.throwIfAborted();

    const config = await configOf(manifest, models, out);
    await out.delete(CONFIG);
    for (const { key, file } of staged) await out.commit(file, key);
    const small = [
      ...models.map(({ file, graph }) => ({ path: `${FOLDER}/${file}`, bytes: encodeModel(graph) })),
      ...Object.entries(tokenizer ?? {}).map(([path, text]) => ({ path, bytes: new TextEncoder().encode(text) })),
      { path: "generation_config.json", bytes: jsonBytes(generationOf(manifest)) },
      { path: CONFIG, bytes: jsonBytes(config) },
    ];
    for (const { path, bytes } of small) await out.put(path, bytes);
    await removeLeftovers(models, out);
    const files = [
      ...staged.map(({ key, file }) => ({ path: key, bytes: file.bytes })),
      ...small.map(({ path, bytes }) => ({ path, bytes: bytes.length })),
    ].sort((a, b) => (a.path < b.path ? -1 : 1));
    const warnings = warningsOf(manifest, models);
    return { out: outDir, name: manifest.name, dtype: WEIGHTS[bits].dtype, files, warnings };
  } finally {
    // What was committed is no longer temporary; discarding removes only the rest.
    for (const { file } of staged) await file.discard();
  }
}

/** A package in several shards is one model again: its graphs read all of the shards' blobs. */
function planModels(manifest: Manifest, { activations = "row", fileBytes }: ExportOptions): PlannedModel[] {
  const { suffix } = WEIGHTS[manifest.quantization.bits];
  const plan = (role: Role, name: string, graphOf: (source: GraphSource) => Graph): PlannedModel => {
    const file = `${name}${suffix}.onnx`;
    const data = planData(manifest, role, file, fileBytes);
    const places = new Map(
      data.flatMap(({ file, blobs }) => blobs.map(({ hash, offset }) => [hash, { file, offset }])),
    );
    const tensors: Manifest["tensors"] = {};
    for (const [tensorName, tensor] of Object.entries(manifest.tensors)) {
      const place = places.get(tensor.blob);
      if (!place) continue;
      const { offset, scales } = tensor;
      tensors[tensorName] = {
        ...tensor,
        blob: place.file,
        offset: place.offset + offset,
        ...(scales && { scales: { ...scales, offset: place.offset + scales.offset } }),
      };
    }
    return { file, graph: graphOf({ ...manifest, tensors, activations }), data };
  };
  return [
    plan("encoder", "encoder_model", (source) => encoderGraph(source, [0, layersIn(manifest.model, "encoder")])),
    plan("decoder", "decoder_model_merged", mergedDecoderGraph),
  ];
}

/** One file, or as many as browsers need; named as transformers.js counts them (its utils/model-loader.js). */
function planData(manifest: Manifest, role: Role, model: string, most = BROWSER_FILE_BYTES): PlannedData[] {
  const files: PlannedData[] = [];
  for (const hash of new Set(shardsOf(manifest, role).flatMap(({ blobs }) => blobs))) {
    const bytes = manifest.blobs[hash]?.bytes ?? 0;
    let file = files.at(-1);
    if (!file || align(file.bytes) + bytes > most) {
      file = { file: `${model}_data${files.length === 0 ? "" : `_${files.length}`}`, blobs: [], bytes: 0 };
      files.push(file);
    }
    const offset = align(file.bytes);
    file.blobs.push({ hash, offset, bytes });
    file.bytes = offset + bytes;
  }
  return files;
}

function align(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}

/** Copies the blobs into data files, each under a temporary name that `staged` remembers from its first moment. */
async function stageData(
  { name }: Manifest,
  store: Store,
  models: readonly PlannedModel[],
  out: FolderStore,
  staged: StagedData[],
  { onProgress, signal }: ExportOptions,
): Promise<void> {
  const wanted = models.flatMap(({ data }) => data);
  const bytesTotal = wanted.reduce((sum, { bytes }) => sum + bytes, 0);
  let bytesBefore = 0;
  for (const { file, blobs } of wanted) {
    const data = { key: `${FOLDER}/${file}`, file: await out.stage(FOLDER) };
    staged.push(data);
    for (const { hash, offset } of blobs) {
      await data.file.padTo(offset);
      await copyBlob(hash, name, store, async (chunk) => {
        signal?.throwIfAborted();
        await data.file.write(chunk);
        onProgress?.({ file, bytesDone: bytesBefore + data.file.bytes, bytesTotal });
      });
    }
    await data.file.finish();
    bytesBefore += data.file.bytes;
  }
}

async function copyBlob(
  hash: string,
  name: string,
  store: Store,
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const stream = await store.get(blobKey(hash));
  if (!stream) throw missingBlob(hash, name, store);
  const sha256 = createSha256();
  for await (const chunk of chunksOf(stream)) {
    sha256.update(chunk);
    await write(chunk);
  }
  if (sha256.digest() !== hash) {
    throw new EdgeT5Error(
      "E_BLOB_CORRUPT",
      `Blob ${hash} in ${store.description} does not have the SHA-256 that names it. Re-run edge-t5 split, or copy it again.`,
    );
  }
}

/**
 * Hugging Face's configuration, and transformers.js's own part of it: the precision to load when nobody says, and how many
 * data files each model has. Those of another precision of this model, exported to the same folder before, stay.
 */
async function configOf(manifest: Manifest, models: readonly PlannedModel[], out: FolderStore): Promise<object> {
  const architecture = toHuggingFaceConfig(manifest.model, manifest.tiedHead);
  const { "transformers.js_config": known, ...before } = await readJson(out, CONFIG);
  const others = isDeepStrictEqual(before, architecture) ? (known as Partial<TransformersJsConfig>) : undefined;
  const own: TransformersJsConfig = {
    dtype: WEIGHTS[manifest.quantization.bits].dtype,
    use_external_data_format: {
      ...others?.use_external_data_format,
      ...Object.fromEntries(models.map(({ file, data }) => [file, data.length])),
    },
  };
  return { ...architecture, "transformers.js_config": own };
}

interface TransformersJsConfig {
  dtype: Dtype;
  use_external_data_format: Record<string, number>;
}

async function readJson(store: Store, key: string): Promise<Record<string, unknown>> {
  try {
    return JSON.parse((await readText(store, key)) ?? "{}");
  } catch {
    return {};
  }
}

function generationOf({ model, generation }: Manifest): object {
  return {
    decoder_start_token_id: model.decoderStartTokenId,
    eos_token_id: model.eosTokenId,
    pad_token_id: model.padTokenId,
    ...generation,
  };
}

/** Data files of an earlier export that had more of them. */
async function removeLeftovers(models: readonly PlannedModel[], out: FolderStore): Promise<void> {
  for (const { key } of await out.list(FOLDER)) {
    const isOld = models.some(
      ({ file, data }) =>
        key.startsWith(`${FOLDER}/${file}_data`) && !data.some((each) => key === `${FOLDER}/${each.file}`),
    );
    if (isOld) await out.delete(key);
  }
}

function warningsOf(manifest: Manifest, models: readonly PlannedModel[]): string[] {
  const warnings: string[] = [];
  if (!manifest.tokenizer) {
    warnings.push("the package has no tokenizer: pipeline() will not load it, AutoModelForSeq2SeqLM takes token ids");
  }
  for (const { file, bytes } of models.flatMap(({ data }) => data)) {
    if (bytes <= BROWSER_FILE_BYTES) continue;
    warnings.push(
      `${file} has ${(bytes / 1e9).toFixed(1)} GB: Node loads it, browsers do not. Split with fewer --bits or a smaller --shard-mb`,
    );
  }
  return warnings;
}

function jsonBytes(json: object): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`);
}
