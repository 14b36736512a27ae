/** Writes a shard's tensors into a staged file as they stream out of the checkpoint, quantizing on the way. */
import { EdgeT5Error } from "../src/errors.ts";
import type { StagedFile } from "../src/store/staged-file.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { elementCount, type PlacedTensor, type TensorGroup } from "./layout.ts";
import { firstNonFinite, quantizeRows } from "./quantize.ts";

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
    const scales: { tensor: PlacedTensor; values: Float32Array }[] = [];
    for (const tensor of group) {
      await staged.padTo(tensor.data.offset);
      const values = await writeTensor(checkpoint, tensor, staged, onRead);
      if (values) scales.push({ tensor, values });
    }
    for (const { tensor, values } of scales) {
      await staged.padTo(tensor.scales!.offset);
      await staged.write(new Uint8Array(values.buffer));
    }
  }
}

/** @returns the scales `[rows]` of an int8 tensor, which follow its group's data */
async function writeTensor(
  checkpoint: Checkpoint,
  { spec, dtype }: PlacedTensor,
  staged: StagedFile,
  onRead: OnRead,
): Promise<Float32Array | null> {
  const columns = spec.shape.at(-1)!;
  const elementBytes = checkpoint.sourceBytes(spec.name) / elementCount(spec.shape);
  const scales = dtype === "int8" ? new Float32Array(spec.shape[0]!) : null;
  let ints = new Int8Array();
  let row = 0;
  for await (const weights of checkpoint.rows(spec.name)) {
    const bad = firstNonFinite(weights);
    if (bad >= 0) throw badValue(checkpoint, spec.name, row + Math.floor(bad / columns), weights[bad]!);
    const rows = weights.length / columns;
    if (scales) {
      if (ints.length < weights.length) ints = new Int8Array(weights.length);
      quantizeRows(weights, columns, ints, scales.subarray(row, row + rows));
      await staged.write(new Uint8Array(ints.buffer, 0, weights.length));
    } else {
      await staged.write(new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength));
    }
    row += rows;
    onRead(spec.name, weights.length * elementBytes);
  }
  return scales;
}

function badValue(checkpoint: Checkpoint, tensor: string, row: number, value: number): EdgeT5Error {
  return new EdgeT5Error(
    "E_TENSOR_VALUE",
    `${checkpoint.fileOf(tensor)}: tensor ${tensor} holds ${value} in row ${row}. The checkpoint is damaged or its training diverged; take an earlier one.`,
  );
}
