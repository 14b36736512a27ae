/** Where each tensor lies in its blob, computed before a byte is written. */
import type { TensorSpec } from "../src/t5/architecture.ts";
import { ALIGNMENT, GROUP, groupsOf, type PackagedTensor } from "../src/t5/manifest.ts";

export type Bits = 4 | 8 | 32;

export interface Region {
  offset: number;
  bytes: number;
}

export interface PlacedTensor {
  spec: TensorSpec;
  dtype: PackagedTensor["dtype"];
  data: Region;
  /** int8: one float32 a row; int4: one float16 a group. */
  scales: Region | null;
}

/** One sublayer's tensors (q, k, v, o …): first the data of all, then the scales of all. */
export type TensorGroup = PlacedTensor[];

/**
 * Lays out one blob, tensors in the order given, every start at a multiple of {@link ALIGNMENT}.
 *
 * Within a sublayer the scales follow all of the data, so that q, k and v of one attention are one matrix with one
 * vector of scales wherever their sizes are multiples of the alignment: a kernel runs over the three at once.
 */
export function layoutBlob(specs: readonly TensorSpec[], bits: Bits): TensorGroup[] {
  let next = 0;
  const place = (bytes: number): Region => {
    const region = { offset: next, bytes };
    next = align(next + bytes);
    return region;
  };
  return modulesOf(specs).map((group) => {
    const placed = group.map((spec): PlacedTensor => {
      const dtype = isQuantized(spec) ? QUANTIZED[bits] : "float32";
      return { spec, dtype, data: place(dataBytes(spec, dtype)), scales: null };
    });
    for (const tensor of placed) {
      const bytes = scaleBytes(tensor);
      if (bytes > 0) tensor.scales = place(bytes);
    }
    return placed;
  });
}

/** Bytes of all tensors' blobs. */
export function layoutBytes(specs: readonly TensorSpec[], bits: Bits): number {
  const groups = layoutBlob(specs, bits);
  return Math.max(
    0,
    ...groups
      .flat()
      .flatMap(({ data, scales }) => [data, scales].map((region) => (region ? region.offset + region.bytes : 0))),
  );
}

const QUANTIZED = { 4: "int4", 8: "int8", 32: "float32" } as const;

function dataBytes({ shape }: TensorSpec, dtype: PlacedTensor["dtype"]): number {
  switch (dtype) {
    case "float32":
      return elementCount(shape) * 4;
    case "int8":
      return elementCount(shape);
    case "int4":
      return (shape[0] ?? 0) * groupsOf(shape[1] ?? 0) * (GROUP / 2);
  }
}

function scaleBytes({ spec: { shape }, dtype }: PlacedTensor): number {
  const [rows = 0, columns = 0] = shape;
  return dtype === "int8" ? rows * 4 : dtype === "int4" ? rows * groupsOf(columns) * 2 : 0;
}

/** Numbers in a tensor of this shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

function isQuantized(spec: TensorSpec): boolean {
  return spec.kind === "linear" || spec.kind === "embedding";
}

/** Runs of linear weights of one module (`encoder.block.0.layer.0.SelfAttention`); anything else stands alone. */
function modulesOf(specs: readonly TensorSpec[]): TensorSpec[][] {
  const groups: TensorSpec[][] = [];
  for (const spec of specs) {
    const group = groups.at(-1);
    const previous = group?.[0];
    if (
      group &&
      previous &&
      spec.kind === "linear" &&
      previous.kind === "linear" &&
      moduleOf(spec) === moduleOf(previous)
    ) {
      group.push(spec);
    } else {
      groups.push([spec]);
    }
  }
  return groups;
}

/** `a.b.q.weight` → `a.b` */
function moduleOf(spec: TensorSpec): string {
  return spec.name.split(".").slice(0, -2).join(".");
}

function align(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}
