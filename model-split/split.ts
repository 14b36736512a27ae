/** Splits a checkpoint into a package: blobs first, each under its hash, and the manifest last. */
import { basename, resolve } from "node:path";
import { EdgeT5Error } from "../src/errors.ts";
import type { Graph } from "../src/onnx/graph.ts";
import { encodeModel } from "../src/onnx/model-proto.ts";
import { FolderStore } from "../src/store/folder.ts";
import { MODEL_NAME } from "../src/store/r2.ts";
import type { StagedFile } from "../src/store/staged-file.ts";
import { crossGraph, encoderGraph, type GraphSource, stepGraph } from "../src/t5/graph/shards.ts";
import { blobKey, MANIFEST_FORMAT, MANIFEST_KEY, type Manifest, type PackagedTensor } from "../src/t5/manifest.ts";
import { textsOf } from "../src/training/data/texts.ts";
import { writeGroups } from "./blob-writer.ts";
import { Checkpoint } from "./checkpoint.ts";
import { type PlannedBlob, type PlannedShard, planShards } from "./cut.ts";
import { type Bits, elementCount, layoutBlob } from "./layout.ts";

export interface SplitProgress {
  /** The tensor being read. */
  tensor: string;
  /** Bytes of the checkpoint's tensors read so far, and in all. */
  bytesDone: number;
  bytesTotal: number;
}

export interface SplitOptions {
  /**
   * For linear weights and embedding: 8, int8 with a float32 scale a row; 4, int4 with a float16 scale a group of 32; 32,
   * float32. Default: 8.
   */
  bits?: Bits;
  /**
   * Keeps only the pieces of the vocabulary that this text file uses (lines; columns of a `.tsv`; strings of a `.jsonl`;
   * `.gz` too), specials, sentinels and single characters.
   */
  trimVocab?: string;
  /**
   * Most bytes of a shard's weights: a stack that has more is cut into ranges of layers. Default: 84 MB, what an isolate
   * holds beside its caches; more where a single layer with its embedding has more.
   */
  shardBytes?: number;
  /** Name of the model; default: the checkpoint directory's. */
  name?: string;
  onProgress?: (progress: SplitProgress) => void;
  /** Ends the split early: temporary files are removed, no manifest is written. */
  signal?: AbortSignal;
}

export interface SplitResult {
  out: string;
  manifest: Manifest;
  parameters: number;
  /** Bytes of the tensors read, in the checkpoint. */
  sourceBytes: number;
  /** Bytes of all blobs. */
  packageBytes: number;
  /** What a user should know and nothing failed for, such as tensors that T5 does not have. */
  warnings: string[];
}

interface StagedBlob {
  hash: string;
  bytes: number;
  role: Manifest["blobs"][string]["role"];
  file: StagedFile;
}

/**
 * Splits a Hugging Face checkpoint directory (`config.json`, `model.safetensors` in F32, F16 or BF16 or an index with
 * parts; `tokenizer.json`, `tokenizer_config.json`, `generation_config.json` where there are) into a package in `outDir`.
 *
 * Streams: memory stays at some tens of megabytes. Deterministic: same input, same bytes. Until all blobs lie on disk
 * there is no new manifest, so that a killed run never leaves one that names a missing blob.
 *
 * @throws EdgeT5Error `E_USAGE` for a name that cannot be a key, `E_CHECKPOINT_NOT_FOUND`, `E_CONFIG`, `E_ARCHITECTURE`, `E_TOKENIZER`, `E_SAFETENSORS`,
 * `E_TENSOR_MISSING`, `E_TENSOR_SHAPE`, `E_TENSOR_DTYPE`, `E_TENSOR_VALUE`; the signal's reason when it aborts
 */
export async function splitCheckpoint(
  checkpointDir: string,
  outDir: string,
  options: SplitOptions = {},
): Promise<SplitResult> {
  const name = options.name ?? basename(resolve(checkpointDir));
  if (!MODEL_NAME.test(name)) {
    throw new EdgeT5Error(
      "E_USAGE",
      `The model cannot be called ${JSON.stringify(name)}: the name is a part of its keys in storage. Pass --name NAME, up to 64 letters, digits, ".", "_", "-".`,
    );
  }
  const checkpoint = await Checkpoint.open(checkpointDir);
  const staged: StagedBlob[] = [];
  try {
    if (options.trimVocab !== undefined) await checkpoint.trim(textsOf(options.trimVocab));
    const { specs, tiedHead } = await checkpoint.plan();
    const { bits = 8, shardBytes } = options;
    const planned = planShards(specs, { config: checkpoint.config, tiedHead, bits }, shardBytes);
    const store = new FolderStore(outDir);
    await store.removeStale(["blobs"]);
    const { tensors, hashes } = await stageShards(checkpoint, planned, store, staged, options);
    const shards = await stageGraphs({ model: checkpoint.config, tensors, tiedHead }, planned, hashes, store, staged);
    const tokenizer = await stageTokenizer(checkpoint, store, staged);
    options.signal?.throwIfAborted();

    const manifest: Manifest = {
      format: MANIFEST_FORMAT,
      name,
      model: checkpoint.config,
      tiedHead,
      trimmedFrom: options.trimVocab === undefined ? null : checkpoint.wholeVocabSize,
      quantization: { bits },
      blobs: Object.fromEntries(staged.map(({ hash, bytes, role }) => [hash, { bytes, role }])),
      shards,
      tokenizer,
      generation: checkpoint.generation,
      tensors,
    };
    for (const blob of staged) await store.commit(blob.file, blobKey(blob.hash));
    await store.put(MANIFEST_KEY, new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`));
    return {
      out: outDir,
      manifest,
      parameters: specs.reduce((sum, spec) => sum + elementCount(spec.shape), 0),
      sourceBytes: specs.reduce((sum, spec) => sum + checkpoint.sourceBytes(spec.name), 0),
      packageBytes: staged.reduce((sum, blob) => sum + blob.bytes, 0),
      warnings: warningsOf(checkpoint),
    };
  } finally {
    // What was committed is no longer temporary; discarding removes only the rest.
    for (const blob of staged) await blob.file.discard();
    await checkpoint.close();
  }
}

/** Writes every blob of the shards once. */
async function stageShards(
  checkpoint: Checkpoint,
  planned: readonly PlannedShard[],
  store: FolderStore,
  staged: StagedBlob[],
  { bits = 8, onProgress, signal }: SplitOptions,
): Promise<{ tensors: Manifest["tensors"]; hashes: Map<PlannedBlob, string> }> {
  const wanted = new Set(planned.flatMap(({ blobs }) => blobs));
  const bytesTotal = [...wanted]
    .flatMap(({ specs }) => specs)
    .reduce((sum, spec) => sum + checkpoint.sourceBytes(spec.name), 0);
  let bytesDone = 0;
  const tensors: Manifest["tensors"] = {};
  const hashes = new Map<PlannedBlob, string>();
  for (const planned of wanted) {
    const groups = layoutBlob(planned.specs, bits);
    const blob = await stageBlob(store, staged, planned.role, (file) =>
      writeGroups(checkpoint, groups, file, (tensor, bytes) => {
        signal?.throwIfAborted();
        bytesDone += bytes;
        onProgress?.({ tensor, bytesDone, bytesTotal });
      }),
    );
    hashes.set(planned, blob.hash);
    for (const { spec, dtype, data, scales } of groups.flat()) {
      const tensor: PackagedTensor = { blob: blob.hash, ...data, dtype, shape: spec.shape, layout: "row-major" };
      tensors[spec.name] = scales ? { ...tensor, scales } : tensor;
    }
  }
  return { tensors, hashes };
}

async function stageTokenizer(
  checkpoint: Checkpoint,
  store: FolderStore,
  staged: StagedBlob[],
): Promise<Manifest["tokenizer"]> {
  if (!checkpoint.tokenizer) return null;
  if ("sentinels" in checkpoint.tokenizer) return checkpoint.tokenizer;
  const { json, config } = checkpoint.tokenizer;
  const stage = async (bytes: Uint8Array) =>
    (await stageBlob(store, staged, "tokenizer", (file) => file.write(bytes))).hash;
  return { json: await stage(json), config: config && (await stage(config)) };
}

/** Writes one blob under a temporary name, which `staged` remembers from its first moment. */
async function stageBlob(
  store: FolderStore,
  staged: StagedBlob[],
  role: StagedBlob["role"],
  write: (file: StagedFile) => Promise<void>,
): Promise<StagedBlob> {
  const blob: StagedBlob = { hash: "", bytes: 0, role, file: await store.stage("blobs") };
  staged.push(blob);
  await write(blob.file);
  blob.hash = await blob.file.finish();
  blob.bytes = blob.file.bytes;
  return blob;
}

/** The shards with their graphs. */
async function stageGraphs(
  source: GraphSource,
  planned: readonly PlannedShard[],
  hashes: ReadonlyMap<PlannedBlob, string>,
  store: FolderStore,
  staged: StagedBlob[],
): Promise<Manifest["shards"]> {
  const stage = async (graph: Graph) =>
    (await stageBlob(store, staged, "graph", (file) => file.write(encodeModel(graph)))).hash;
  const shards: Manifest["shards"] = [];
  for (const { role, layers, blobs } of planned) {
    const fields = { layers, blobs: blobs.map((blob) => hashes.get(blob) as string) };
    if (role === "encoder") {
      shards.push({ role, ...fields, graphs: { encoder: await stage(encoderGraph(source, layers)) } });
    } else {
      const graphs = { cross: await stage(crossGraph(source, layers)), step: await stage(stepGraph(source, layers)) };
      shards.push({ role, ...fields, graphs });
    }
  }
  return shards;
}

function warningsOf(checkpoint: Checkpoint): string[] {
  const warnings = checkpoint.unknownTensors().map((name) => `tensor ${name} is not part of T5 and was left out`);
  if (!checkpoint.tokenizer) warnings.push("no tokenizer.json: the package takes token ids, not text");
  return warnings;
}
