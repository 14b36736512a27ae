/**
 * The safetensors format: eight bytes of header length, a JSON header and the tensors' bytes
 * (https://github.com/huggingface/safetensors). Here its header, checked; who reads a file brings the bytes.
 */
import * as z from "zod";
import { EdgeT5Error } from "../errors.ts";

/** Bytes before the header: its length. */
export const PREFIX_BYTES = 8;

/** The format's own limit on the header. */
const MAX_HEADER_BYTES = 100_000_000;

/** Bytes an element, by the format's names. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
  C64: 8,
};

const size = z.number().int().nonnegative();
const entrySchema = z.object({ dtype: z.string(), shape: z.array(size), data_offsets: z.tuple([size, size]) });

export interface TensorEntry {
  dtype: string;
  shape: number[];
  /** First byte in the file. */
  offset: number;
  bytes: number;
}

/**
 * @param prefix the file's first {@link PREFIX_BYTES}
 * @param path for messages
 * @returns where the tensors' bytes begin
 * @throws EdgeT5Error `E_SAFETENSORS`
 */
export function dataStartOf(prefix: Uint8Array, fileBytes: number, path: string): number {
  if (fileBytes < PREFIX_BYTES) throw malformed(path, `it has ${fileBytes} bytes, too few for a header`);
  const headerBytes = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (headerBytes > MAX_HEADER_BYTES) {
    throw malformed(path, `its header claims ${headerBytes} bytes, over the format's limit of ${MAX_HEADER_BYTES}`);
  }
  const dataStart = PREFIX_BYTES + Number(headerBytes);
  if (dataStart > fileBytes) {
    throw malformed(path, `its header claims ${headerBytes} bytes, but the file ends after ${fileBytes}`);
  }
  return dataStart;
}

/**
 * @param text the header, what lies between the prefix and the tensors' bytes
 * @throws EdgeT5Error `E_SAFETENSORS`, naming the file and the tensor, when the file is not a whole one
 */
export function parseHeader(text: Uint8Array, fileBytes: number, path: string): Map<string, TensorEntry> {
  const dataStart = PREFIX_BYTES + text.length;
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(text));
  } catch (cause) {
    throw malformed(path, "its header is not JSON", cause);
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    throw malformed(path, "its header is not a JSON object");
  }
  const tensors = new Map<string, TensorEntry>();
  for (const [name, value] of Object.entries(header)) {
    if (name !== "__metadata__") tensors.set(name, parseEntry(path, name, value, dataStart));
  }
  checkOffsets(path, tensors, dataStart, fileBytes);
  return tensors;
}

function parseEntry(path: string, name: string, value: unknown, dataStart: number): TensorEntry {
  const where = `tensor ${name}`;
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw malformed(path, `${where}: ${issue?.path.join(".") || "entry"}: ${issue?.message}`);
  }
  const { dtype, shape, data_offsets } = parsed.data;
  const [begin, end] = data_offsets;
  const elementBytes = ELEMENT_BYTES[dtype];
  if (elementBytes === undefined) throw malformed(path, `${where} has the unknown dtype ${JSON.stringify(dtype)}`);
  const bytes = shape.reduce((product, n) => product * n, elementBytes);
  if (end < begin || bytes !== end - begin) {
    throw malformed(
      path,
      `${where} has offsets ${begin} to ${end}, but ${dtype} [${shape.join(", ")}] takes ${bytes} bytes`,
    );
  }
  return { dtype, shape, offset: dataStart + begin, bytes };
}

/** The format wants the tensors to cover the data without overlap or gap. */
function checkOffsets(path: string, tensors: Map<string, TensorEntry>, dataStart: number, fileBytes: number): void {
  let expected = dataStart;
  let previous = "";
  const inOrder = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  for (const [name, { offset, bytes }] of inOrder) {
    if (offset < expected) throw malformed(path, `tensor ${name} overlaps tensor ${previous}`);
    if (offset > expected)
      throw malformed(path, `${offset - expected} bytes before tensor ${name} belong to no tensor`);
    expected = offset + bytes;
    if (expected > fileBytes) {
      throw malformed(path, `tensor ${name} ends at byte ${expected}, but the file ends after ${fileBytes}`);
    }
    previous = name;
  }
  if (expected !== fileBytes)
    throw malformed(path, `${fileBytes - expected} bytes after the last tensor belong to none`);
}

export function malformed(path: string, why: string, cause?: unknown): EdgeT5Error {
  return new EdgeT5Error(
    "E_SAFETENSORS",
    `${path}: ${why}. The file is truncated or damaged; download or export it again.`,
    { cause },
  );
}

/**
 * The tensors of a file that is all there.
 *
 * @throws EdgeT5Error `E_SAFETENSORS`
 */
export function readTensors(file: Uint8Array, path: string): Map<string, TensorEntry> {
  const dataStart = dataStartOf(file, file.length, path);
  return parseHeader(file.subarray(PREFIX_BYTES, dataStart), file.length, path);
}
