/**
 * The memory plan: every address in the one WASM memory is fixed from the manifest before the first byte is read, since
 * WASM memory never shrinks. Weights first, as their blobs lie in storage; then tables, scratch, and the arena of
 * sequences.
 */
import { EdgeT5Error } from "../../errors.ts";
import { KERNEL_RESERVED_BYTES } from "../../kernels/index.ts";
import { type CacheShape, DEFAULT_ADAPTER_BYTES, type EngineLimits, type Role } from "../../t5/engine.ts";
import { ALIGNMENT, groupsOf, type Manifest } from "../../t5/manifest.ts";
import { align, cacheShape, crossBytes, innerDim, layerBytes, megabytes, sequenceBytes } from "../cache-size.ts";
import { blobsOf } from "../load.ts";

/** Rows of activations that scratch holds. */
export const BLOCK_ROWS = 64;
/**
 * A prompt goes through a layer in blocks of so many rows: between two of them others may compute. On a machine without
 * int8 dot products 64 rows of T5-small take 10 ms, and half as many a thirtieth more for each row.
 */
export const PROMPT_ROWS = 64;
/**
 * A step takes as many rows as their logits side by side fit in here: 16 of T5's vocabulary, where dot products have long
 * become what a step waits for and more rows gain nothing; of a larger one as many as {@link LEAST_STEP_ROWS}.
 */
const STEP_LOGITS_BYTES = 2 ** 21;
const LEAST_STEP_ROWS = 4;

export const PAGE = 65536;
/** Of 32-bit addresses. */
const MOST_PAGES = 65536;
const F32 = 4;
/** Columns that linearPairsI8 keeps an offset of. */
const PIECE_COLUMNS = 2048;
/** Attention reads biases by the block: up to 15 beyond a table's end. */
const BIAS_MARGIN = 64;

/** What memory is used for. `buffers`: of an encode or a step, hidden states and a step's logits; `sequences`: the arena. */
export type MemoryUse = "kernels" | "weights" | "rowSums" | "scratch" | "biasTables" | "buffers" | "sequences";

/** A stretch of the memory. */
export interface Region {
  use: MemoryUse;
  at: number;
  bytes: number;
}

export interface Plan {
  pages: number;
  /** All of the memory but the end of its last page, one after the other. */
  regions: readonly Region[];
  /** Address of each blob that the roles need. */
  blobs: Map<string, number>;
  scratch: Scratch;
  /** `[heads, 2 maxInputTokens - 1]` f32 for the encoder, `[heads, maxNewTokens]` for the decoder. */
  encoderBias: number;
  decoderBias: number;
  /** Where row sums of int8 weights go, 4 bytes a row: filled as weights are bound. */
  sums: { at: number; bytes: number };
  /** `x`, `q`: a row a token; `cache`: keys and values of one layer. Over the decoder's. */
  encoder: { x: number; q: number; cache: number };
  /** `x`: a row a token or sequence; `logits`: a row a sequence of a step, of which it takes up to `rows`. */
  decoder: { x: number; logits: number; rows: number };
  /** Of the decoder's caches and the encoder's. */
  shape: CacheShape;
  arena: { at: number; bytes: number };
}

/** Shared by encoder and decoder: one computation runs at a time, from start to end. Addresses; shapes in rows R. */
export interface Scratch {
  /** `[max(R, maxInputTokens)]` int32. */
  ids: number;
  /** `[R, dModel]` f32. */
  norm: number;
  /** `[R, widest input]` quantized, 2 bytes an element. */
  quantized: number;
  /** For linearI4: `[R, groups of the widest input]`, 68 bytes a group, and some more. */
  prepared: number;
  /** `[R]` f32. */
  rowScales: number;
  /** `[R, ceil(widest input / 2048)]` int32. */
  offsets: number;
  /** For linearI8 and linearPairsI8. */
  panels: number;
  /** `[R, 3 inner]` f32: queries, keys and values. */
  qkv: number;
  /** `[R, inner]` f32. */
  attention: number;
  /** `[R, dFf]` f32, and the same again for a gated activation. */
  feedForward: number;
  gate: number;
  /** For {@link readsByUnit}'s kernel over a step's rows. */
  units: number;
  /** For attention of eight heads over the longest row of keys: 7 bytes a key, and a query in digits. */
  scores: number;
}

/**
 * @throws EdgeT5Error `E_CAPACITY` when `memoryBytes` does not even hold one sequence of the longest kind
 */
export function planMemory(manifest: Manifest, roles: readonly Role[], limits: EngineLimits): Plan {
  const config = manifest.model;
  const { dModel, dFf, numHeads } = config;
  const inner = innerDim(config);
  const shape = cacheShape(manifest, limits.cacheBits);
  const encodes = roles.includes("encoder");
  const decodes = roles.includes("decoder");

  let next = 0;
  const regions: Region[] = [];
  const reserve = (use: MemoryUse, bytes: number) => {
    const region = { use, at: next, bytes: align(bytes) };
    regions.push(region);
    next += region.bytes;
    return region.at;
  };
  reserve("kernels", KERNEL_RESERVED_BYTES);

  const blobs = new Map<string, number>();
  for (const hash of blobsOf(manifest, roles)) blobs.set(hash, reserve("weights", manifest.blobs[hash]?.bytes ?? 0));

  let sumRows = 0;
  for (const tensor of Object.values(manifest.tensors)) {
    if (tensor.dtype === "int8" && blobs.has(tensor.blob)) sumRows += align((tensor.shape[0] ?? 0) * F32);
  }
  const sums = { at: reserve("rowSums", sumRows), bytes: sumRows };

  const { bits } = manifest.quantization;
  const gated = config.feedForward !== "relu";
  const widest = Math.ceil(Math.max(dModel, inner, dFf) / 16) * 16;
  const longest = Math.max(encodes || decodes ? limits.maxInputTokens : 0, decodes ? limits.maxNewTokens : 0);
  const stepRows = decodes ? stepRowsOf(shape.logits) : 0;
  const byUnit = decodes && readsByUnit(manifest);
  const scratch: Scratch = {
    ids: reserve("scratch", Math.max(BLOCK_ROWS, limits.maxInputTokens) * 4),
    norm: reserve("scratch", BLOCK_ROWS * dModel * F32),
    quantized: reserve("scratch", bits < 32 ? BLOCK_ROWS * widest * 2 : 0),
    prepared: reserve("scratch", bits === 4 ? groupsOf(widest) * (BLOCK_ROWS * 68 + 288) + BLOCK_ROWS * 32 + 512 : 0),
    rowScales: reserve("scratch", BLOCK_ROWS * F32),
    offsets: reserve("scratch", bits < 32 ? BLOCK_ROWS * Math.ceil(widest / PIECE_COLUMNS) * 4 : 0),
    panels: reserve("scratch", bits === 8 ? panelBytes(widest) : 0),
    qkv: reserve("scratch", BLOCK_ROWS * 3 * inner * F32),
    attention: reserve("scratch", BLOCK_ROWS * inner * F32),
    feedForward: reserve("scratch", BLOCK_ROWS * dFf * F32),
    gate: reserve("scratch", gated ? BLOCK_ROWS * dFf * F32 : 0),
    units: reserve("scratch", byUnit ? unitBytes(stepRows, dFf, dModel) : 0),
    scores: reserve("scratch", 8 * ((longest + 16) * 7 + 3 * (config.dKv + 3) + 20) + 144),
  };

  const encoderRows = encodes ? limits.maxInputTokens : 0;
  const encoderBias = reserve("biasTables", numHeads * Math.max(0, 2 * encoderRows - 1) * F32 + BIAS_MARGIN);
  const decoderRows = decodes ? BLOCK_ROWS : 0;
  const decoderBias = reserve("biasTables", decodes ? numHeads * limits.maxNewTokens * F32 + BIAS_MARGIN : 0);

  // An encode and a step take turns, each from its start to its end: what they work in is the same memory.
  const ofEncode = [encoderRows * dModel * F32, encoderRows * inner * F32, layerBytes(shape, encoderRows)] as const;
  const ofStep = [decoderRows * dModel * F32, stepRows * shape.logits * F32] as const;
  // Before both, a matrix that lies by the unit is turned by way of here.
  const turned = byUnit ? dFf * dModel : 0;
  const buffers = reserve("buffers", Math.max(alignedSum(ofEncode), alignedSum(ofStep), turned));
  const encoder = {
    x: buffers,
    q: buffers + align(ofEncode[0]),
    cache: buffers + align(ofEncode[0]) + align(ofEncode[1]),
  };
  const decoder = { x: buffers, logits: buffers + align(ofStep[0]), rows: stepRows };

  let arenaBytes = 0;
  if (decodes) {
    const one = crossBytes(shape, limits.maxInputTokens) + sequenceBytes(shape, limits.maxNewTokens);
    // WASM memory comes by the page.
    const most = Math.floor((limits.memoryBytes ?? Number.POSITIVE_INFINITY) / PAGE) * PAGE;
    const room = most - next;
    arenaBytes = Math.min(one * limits.maxSequences, Math.floor(room / ALIGNMENT) * ALIGNMENT);
    if (arenaBytes < one) {
      throw new EdgeT5Error(
        "E_CAPACITY",
        `Model ${manifest.name} needs ${megabytes(next + one)} for weights, scratch and one sequence of ` +
          `${limits.maxInputTokens} + ${limits.maxNewTokens} tokens; the limit is ${megabytes(limits.memoryBytes ?? 0)}. ` +
          "Lower the token limits, split with fewer bits, or raise the memory limit.",
      );
    }
  }
  const arena = { at: reserve("sequences", arenaBytes), bytes: arenaBytes };
  const pages = Math.ceil(next / PAGE);
  if (pages > MOST_PAGES) {
    throw new EdgeT5Error(
      "E_CAPACITY",
      `Model ${manifest.name} needs ${megabytes(next)} of WASM memory, which has at most ${megabytes(MOST_PAGES * PAGE)}. ` +
        "Use fewer bits or sequences, run a part of its shards, or use --engine onnx.",
    );
  }
  if (pages * PAGE > (limits.memoryBytes ?? Number.POSITIVE_INFINITY)) {
    throw new EdgeT5Error(
      "E_CAPACITY",
      `Model ${manifest.name} needs ${megabytes(next)} for weights and scratch; the limit is ` +
        `${megabytes(limits.memoryBytes ?? 0)}. Lower the token limits, split with fewer bits, or raise the memory limit.`,
    );
  }

  return {
    pages,
    regions,
    blobs,
    scratch,
    encoderBias,
    decoderBias,
    sums,
    encoder,
    decoder,
    shape,
    arena,
  };
}

/**
 * Whether the decoder's `wo` lies by the unit, `[in, out]`: behind relu most units are zero, and what they would be multiplied
 * with is not read. An encoder's rows have between them few units that are zero for all.
 */
export function readsByUnit({ model, quantization }: Manifest): boolean {
  return quantization.bits === 8 && model.feedForward === "relu" && model.dFf % 16 === 0 && model.dModel % 16 === 0;
}

/** What reluLinearI8 works in. */
function unitBytes(rows: number, k: number, n: number): number {
  return rows * (4 * k + 20) + 6 * k + 44 + (Math.ceil(k / 2048) * rows * 4 + 64) * n;
}

/**
 * What linearI8 and linearPairsI8 work in: of many rows their activations and a panel of weights with its totals; of one row totals.
 */
function panelBytes(k: number): number {
  return BLOCK_ROWS * (2 * k + (k > PIECE_COLUMNS ? 96 : 64)) + 8192;
}

/** How far a plan's memory may grow for adapters: nothing is taken before one is used. */
export function growthPages({ pages }: Plan, { memoryBytes, adapterBytes }: EngineLimits): number {
  const most = Math.min(MOST_PAGES, Math.floor((memoryBytes ?? Number.POSITIVE_INFINITY) / PAGE));
  return Math.max(0, Math.min(Math.ceil((adapterBytes ?? DEFAULT_ADAPTER_BYTES) / PAGE), most - pages));
}

/** Bytes of several stretches that each begin at a multiple of {@link ALIGNMENT}. */
function alignedSum(bytes: readonly number[]): number {
  return bytes.reduce((sum, each) => sum + align(each), 0);
}

/** Most rows of one step. @param logits of a row; 0 where the stack goes on elsewhere */
function stepRowsOf(logits: number): number {
  const rows = Math.floor(STEP_LOGITS_BYTES / (logits * F32));
  return Math.min(BLOCK_ROWS, Math.max(LEAST_STEP_ROWS, rows));
}
