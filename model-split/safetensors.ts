/**
 * Reads safetensors files: the header, checked, and tensors in chunks of a few megabytes. The format is eight bytes of
 * header length, a JSON header and the tensors' bytes (https://github.com/huggingface/safetensors).
 */
import { type FileHandle, open } from "node:fs/promises";
import * as z from "zod";
import { EdgeT5Error } from "../src/errors.ts";
import { FLOAT_BYTES, isFloatDtype, toFloat32 } from "./floats.ts";

/** The format's own limit on the header. */
const MAX_HEADER_BYTES = 100_000_000;

/** Bytes of a tensor read at once: the splitter's memory is a few times this, whatever the checkpoint's size. */
const CHUNK_BYTES = 4 << 20;

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

export class SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle, tensors: Map<string, TensorEntry>) {
    this.path = path;
    this.#file = file;
    this.tensors = tensors;
  }

  /** @throws EdgeT5Error `E_SAFETENSORS`, naming the file and the tensor, when the file is not a whole one. */
  static async open(path: string): Promise<SafetensorsFile> {
    const file = await open(path, "r");
    try {
      return new SafetensorsFile(path, file, await readHeader(file, path));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  /**
   * A tensor's values as float32, a few whole rows at a time, in order. A row is the last dimension (of a vector: all).
   * The yielded array is reused: it holds until the next one is asked for.
   *
   * @param name a tensor of this file in one of {@link FLOAT_BYTES}
   */
  async *rows(name: string): AsyncGenerator<Float32Array> {
    const entry = this.tensors.get(name);
    if (!entry || !isFloatDtype(entry.dtype)) throw new TypeError(`${name} is no float tensor of ${this.path}`);
    if (entry.bytes === 0) return;
    const elementBytes = FLOAT_BYTES[entry.dtype];
    const rowBytes = (entry.shape.at(-1) ?? 1) * elementBytes;
    const chunkBytes = Math.min(entry.bytes, Math.max(1, Math.floor(CHUNK_BYTES / rowBytes)) * rowBytes);
    const raw = new Uint8Array(chunkBytes);
    const values = entry.dtype === "F32" ? new Float32Array(raw.buffer) : new Float32Array(chunkBytes / elementBytes);
    for (let done = 0; done < entry.bytes; ) {
      const bytes = Math.min(chunkBytes, entry.bytes - done);
      await readFully(this.#file, raw.subarray(0, bytes), entry.offset + done, `${this.path}: tensor ${name}`);
      if (entry.dtype !== "F32") toFloat32(entry.dtype, raw.subarray(0, bytes), values);
      done += bytes;
      yield values.subarray(0, bytes / elementBytes);
    }
  }
}

async function readHeader(file: FileHandle, path: string): Promise<Map<string, TensorEntry>> {
  const fileBytes = (await file.stat()).size;
  if (fileBytes < 8) throw malformed(path, `it has ${fileBytes} bytes, too few for a header`);
  const prefix = new Uint8Array(8);
  await readFully(file, prefix, 0, path);
  const headerBytes = new DataView(prefix.buffer).getBigUint64(0, true);
  if (headerBytes > MAX_HEADER_BYTES) {
    throw malformed(path, `its header claims ${headerBytes} bytes, over the format's limit of ${MAX_HEADER_BYTES}`);
  }
  const dataStart = 8 + Number(headerBytes);
  if (dataStart > fileBytes) {
    throw malformed(path, `its header claims ${headerBytes} bytes, but the file ends after ${fileBytes}`);
  }
  const text = new Uint8Array(Number(headerBytes));
  await readFully(file, text, 8, path);
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
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

async function readFully(file: FileHandle, target: Uint8Array, position: number, what: string): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await file.read(target, done, target.length - done, position + done);
    if (bytesRead === 0) throw malformed(what, "the file ended while it was read");
    done += bytesRead;
  }
}

function malformed(path: string, why: string, cause?: unknown): EdgeT5Error {
  return new EdgeT5Error(
    "E_SAFETENSORS",
    `${path}: ${why}. The file is truncated or damaged; download or export it again.`,
    { cause },
  );
}
