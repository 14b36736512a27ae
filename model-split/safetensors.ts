/** Reads safetensors files: the header, and tensors in chunks of a few megabytes. */
import { type FileHandle, open } from "node:fs/promises";
import { FLOAT_BYTES, isFloatDtype, toFloat32 } from "../src/t5/floats.ts";
import { dataStartOf, malformed, PREFIX_BYTES, parseHeader, type TensorEntry } from "../src/t5/safetensors.ts";

export type { TensorEntry };

/** Bytes of a tensor read at once: the splitter's memory is a few times this, whatever the checkpoint's size. */
const CHUNK_BYTES = 4 << 20;

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
  const prefix = new Uint8Array(PREFIX_BYTES);
  if (fileBytes >= PREFIX_BYTES) await readFully(file, prefix, 0, path);
  const text = new Uint8Array(dataStartOf(prefix, fileBytes, path) - PREFIX_BYTES);
  await readFully(file, text, PREFIX_BYTES, path);
  return parseHeader(text, fileBytes, path);
}

async function readFully(file: FileHandle, target: Uint8Array, position: number, what: string): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await file.read(target, done, target.length - done, position + done);
    if (bytesRead === 0) throw malformed(what, "the file ended while it was read");
    done += bytesRead;
  }
}
