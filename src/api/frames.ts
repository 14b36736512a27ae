/**
 * Frames of a stream between Workers: two uint32 (bytes of its JSON head, bytes of its payload), the head, and float32
 * numbers; all little-endian, as WASM is.
 */
import { EdgeT5Error } from "../errors.ts";

export interface Frame {
  head: unknown;
  payload: Float32Array;
}

const PREFIX_BYTES = 8;
/** Longer heads and payloads than any Worker sends. */
const MAX_BYTES = 2 ** 27;

export function encodeFrame(head: object, payload: readonly Float32Array[] = []): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(head));
  const bytes = payload.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const frame = new Uint8Array(PREFIX_BYTES + json.length + bytes);
  const view = new DataView(frame.buffer);
  view.setUint32(0, json.length, true);
  view.setUint32(4, bytes, true);
  frame.set(json, PREFIX_BYTES);
  let at = PREFIX_BYTES + json.length;
  for (const part of payload) {
    frame.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return frame;
}

type Chunk = { done: boolean; value?: Uint8Array | undefined };

/** Frames out of a stream that cuts them anywhere. A stream that breaks has ended: who wrote it is gone. */
export class FrameReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  /** Asked for at once: wrangler's development server takes a body that nobody has touched for one to be drained. */
  #first: Promise<Chunk> | null;
  #rest = new Uint8Array(0);

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
    this.#first = this.#read();
  }

  /** @returns null at the stream's end */
  async next(): Promise<Frame | null> {
    if (!(await this.#fill(PREFIX_BYTES))) return null;
    const view = new DataView(this.#rest.buffer, this.#rest.byteOffset);
    const headBytes = view.getUint32(0, true);
    const payloadBytes = view.getUint32(4, true);
    if (headBytes > MAX_BYTES || payloadBytes > MAX_BYTES || payloadBytes % 4 !== 0) throw malformed();
    const end = PREFIX_BYTES + headBytes + payloadBytes;
    if (!(await this.#fill(end))) return null;
    const head = new TextDecoder().decode(this.#rest.subarray(PREFIX_BYTES, PREFIX_BYTES + headBytes));
    // A copy: float32 numbers begin at multiples of four bytes.
    const payload = this.#rest.slice(PREFIX_BYTES + headBytes, end);
    this.#rest = this.#rest.subarray(end);
    try {
      return { head: JSON.parse(head), payload: new Float32Array(payload.buffer) };
    } catch {
      throw malformed();
    }
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel();
    this.#reader.releaseLock();
  }

  #read(): Promise<Chunk> {
    return this.#reader.read().catch(() => ({ done: true }));
  }

  /** Reads until so many bytes are there. @returns whether they came */
  async #fill(bytes: number): Promise<boolean> {
    if (this.#rest.length >= bytes) return true;
    const parts = [this.#rest];
    let length = this.#rest.length;
    while (length < bytes) {
      const { done, value } = await (this.#first ?? this.#read());
      this.#first = null;
      if (done || !value) return false;
      parts.push(value as Uint8Array<ArrayBuffer>);
      length += value.length;
    }
    this.#rest = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      this.#rest.set(part, at);
      at += part.length;
    }
    return true;
  }
}

export function malformed(): EdgeT5Error {
  return new EdgeT5Error("E_INPUT", "The private Workers do not understand each other. Deploy all of one version.");
}
