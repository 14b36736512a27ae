/** Where each tensor lies in its blob, computed before a byte is written. */
import type { TensorSpec } from "../src/t5/architecture.ts";
import { ALIGNMENT } from "../src/t5/manifest.ts";

export type Bits = 8 | 32;

export interface Region {
  offset: number;
  bytes: number;
}

export interface PlacedTensor {
  spec: TensorSpec;
  dtype: "int8" | "float32";
  data: Region;
  /** int8 only: one float32 a row. */
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
  return groupsOf(specs).map((group) => {
    const placed = group.map((spec): PlacedTensor => {
      const dtype = bits === 8 && isQuantized(spec) ? "int8" : "float32";
      const elements = elementCount(spec.shape);
      return { spec, dtype, data: place(dtype === "int8" ? elements : elements * 4), scales: null };
    });
    for (const tensor of placed) {
      if (tensor.dtype === "int8") tensor.scales = place(tensor.spec.shape[0]! * 4);
    }
    return placed;
  });
}

/** Numbers in a tensor of this shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

function isQuantized(spec: TensorSpec): boolean {
  return spec.kind === "linear" || spec.kind === "embedding";
}

/** Runs of linear weights of one module (`encoder.block.0.layer.0.SelfAttention`); anything else stands alone. */
function groupsOf(specs: readonly TensorSpec[]): TensorSpec[][] {
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
