/** Numbers out of a file's headers; what lies past its end is a damaged file, not a defect. */
import { EdgeT5Error } from "../../errors.ts";

export class Bytes {
  readonly length: number;
  readonly #view: DataView;
  readonly #format: string;
  readonly isLittle: boolean;

  /** @param format for messages: "PNG" */
  constructor(bytes: Uint8Array, format: string, isLittle = false) {
    this.length = bytes.length;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#format = format;
    this.isLittle = isLittle;
  }

  u8(at: number): number {
    return this.#view.getUint8(this.#check(at, 1));
  }

  u16(at: number): number {
    return this.#view.getUint16(this.#check(at, 2), this.isLittle);
  }

  u32(at: number): number {
    return this.#view.getUint32(this.#check(at, 4), this.isLittle);
  }

  /** Of what no file is as long as, `Infinity`. */
  u64(at: number): number {
    const value = this.#view.getBigUint64(this.#check(at, 8), this.isLittle);
    return value > Number.MAX_SAFE_INTEGER ? Infinity : Number(value);
  }

  /** Four bytes as ASCII. */
  name(at: number): string {
    return String.fromCharCode(this.u8(at), this.u8(at + 1), this.u8(at + 2), this.u8(at + 3));
  }

  damaged(why: string): EdgeT5Error {
    return damaged(this.#format, why);
  }

  #check(at: number, size: number): number {
    if (at >= 0 && at + size <= this.length) return at;
    throw this.damaged("it ends before its headers do");
  }
}

/** @param why completes "The PNG file is damaged: …" */
export function damaged(format: string, why: string, options?: { cause?: unknown }): EdgeT5Error {
  return new EdgeT5Error("E_DAMAGED", `The ${format} file is damaged: ${why}. Save or download it again.`, options);
}
