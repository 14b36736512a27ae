/** Writes a shard's tensors into a staged file as they stream out of the checkpoint, quantizing on the way. */
import { EdgeT5Error } from "../src/errors.ts";
import type { StagedFile } from "../src/store/staged-file.ts";
import { GROUP, groupsOf } from "../src/t5/manifest.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { elementCount, type PlacedTensor, type TensorGroup } from "./layout.ts";
import { firstBeyond, firstNonFinite, INT4_LARGEST, quantizeGroups, quantizeRows } from "./quantize.ts";

/** Called with each chunk that was read: the tensor and its bytes in the checkpoint. */
export type OnRead = (tensor: string, bytes: number) => void;

/**
 * @throws EdgeT5Error `E_TENSOR_VALUE` for a NaN or an infinity, naming tensor and row
 */
export async function writeGroups(
  checkpoint: Checkpoint,
  groups: readonly TensorGroup[],
  staged: StagedFile,
  onRead: OnRead,
): Promise<void> {
  for (const group of groups) {
    const scales: { tensor: PlacedTensor; values: Uint8Array }[] = [];
    for (const tensor of group) {
      await staged.padTo(tensor.data.offset);
      const values = await writeTensor(checkpoint, tensor, staged, onRead);
      if (values) scales.push({ tensor, values });
    }
    for (const { tensor, values } of scales) {
      await staged.padTo(tensor.scales!.offset);
      await staged.write(values);
    }
  }
}

/** @returns the scales of a quantized tensor, which follow its group's data */
async function writeTensor(
  checkpoint: Checkpoint,
  { spec, dtype }: PlacedTensor,
  staged: StagedFile,
  onRead: OnRead,
): Promise<Uint8Array | null> {
  const columns = spec.shape.at(-1)!;
  const elementBytes = checkpoint.sourceBytes(spec.name) / elementCount(spec.shape);
  const quantizer = dtype === "float32" ? null : new Quantizer(dtype, spec.shape[0]!, columns);
  let row = 0;
  for await (const weights of checkpoint.rows(spec.name)) {
    const bad = firstNonFinite(weights);
    if (bad >= 0) throw badValue(checkpoint, spec.name, row + Math.floor(bad / columns), weights[bad]!);
    const beyond = dtype === "int4" ? firstBeyond(weights, INT4_LARGEST) : -1;
    if (beyond >= 0) throw beyondInt4(checkpoint, spec.name, row + Math.floor(beyond / columns), weights[beyond]!);
    await staged.write(
      quantizer?.push(weights) ?? new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength),
    );
    row += weights.length / columns;
    onRead(spec.name, weights.length * elementBytes);
  }
  return quantizer?.scales ?? null;
}

/** Quantizes a tensor as its rows come, a few at a time. */
class Quantizer {
  readonly #dtype: "int4" | "int8";
  readonly #columns: number;
  readonly #scales: Float32Array | Uint16Array;
  #data = new Uint8Array();
  #row = 0;

  constructor(dtype: "int4" | "int8", rows: number, columns: number) {
    this.#dtype = dtype;
    this.#columns = columns;
    this.#scales = dtype === "int8" ? new Float32Array(rows) : new Uint16Array(rows * groupsOf(columns));
  }

  /** All scales, once the last row has come. */
  get scales(): Uint8Array {
    return new Uint8Array(this.#scales.buffer);
  }

  /** @returns the rows' data, which holds until the next call */
  push(weights: Float32Array): Uint8Array {
    const rows = weights.length / this.#columns;
    const groups = groupsOf(this.#columns);
    const bytes = this.#dtype === "int8" ? weights.length : rows * groups * (GROUP / 2);
    if (this.#data.length < bytes) this.#data = new Uint8Array(bytes);
    const data = this.#data.subarray(0, bytes);
    if (this.#scales instanceof Float32Array) {
      const scales = this.#scales.subarray(this.#row, this.#row + rows);
      quantizeRows(weights, this.#columns, new Int8Array(data.buffer, 0, bytes), scales);
    } else {
      const scales = this.#scales.subarray(this.#row * groups, (this.#row + rows) * groups);
      quantizeGroups(weights, this.#columns, data, scales);
    }
    this.#row += rows;
    return data;
  }
}

function badValue(checkpoint: Checkpoint, tensor: string, row: number, value: number): EdgeT5Error {
  return new EdgeT5Error(
    "E_TENSOR_VALUE",
    `${checkpoint.fileOf(tensor)}: tensor ${tensor} holds ${value} in row ${row}. The checkpoint is damaged or its training diverged; take an earlier one.`,
  );
}

function beyondInt4(checkpoint: Checkpoint, tensor: string, row: number, value: number): EdgeT5Error {
  return new EdgeT5Error(
    "E_TENSOR_VALUE",
    `${checkpoint.fileOf(tensor)}: tensor ${tensor} holds ${value} in row ${row}, beyond what int4 with float16 scales can say. Split with --bits 8.`,
  );
}
