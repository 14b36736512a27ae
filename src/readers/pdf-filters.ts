/**
 * How many bytes come out of a PDF stream's compressions. Each is counted as pdf.js decodes it, wrong data too: what is
 * counted is what pdf.js will make.
 */

import { inflated } from "./inflate.ts";

/** Bytes that may still be made or looked at; below zero, they were too many. */
export interface Budget {
  left: number;
}

/**
 * Of zlib's data; of what is no such data, nothing: pdf.js refuses it too. Checksums are looked at by neither.
 *
 * @throws Error where it is broken: pdf.js may go on
 */
export function spendInflated(data: Uint8Array, budget: Budget, signal?: AbortSignal): void {
  if (!isZlib(data)) return;
  for (const piece of inflated([data.subarray(2)], { isRaw: true })) {
    signal?.throwIfAborted();
    budget.left -= piece.length;
    if (budget.left < 0) return;
  }
}

function isZlib(data: Uint8Array): boolean {
  const [method = 0, flags = 0] = data;
  return (method & 15) === 8 && (method * 256 + flags) % 31 === 0 && (flags & 32) === 0;
}

const CLEAR = 256;
const END = 257;
const MOST_CODES = 4096;

/**
 * Of LZW's data: of each code only how long its sequence is.
 *
 * @param early 1 where codes grow longer one code early, as is usual
 */
export function spendLzw(data: Uint8Array, early: number, budget: Budget): void {
  const lengths = new Uint16Array(MOST_CODES).fill(1, 0, CLEAR);
  let next = END + 1;
  let width = 9;
  let before = 0;
  /** Of the last code's sequence; 0 after a clearing one. */
  let length = 0;
  let bits = 0;
  let held = 0;
  for (let at = 0; budget.left >= 0; ) {
    for (; held < width; held += 8) {
      if (at === data.length) return;
      bits = (bits << 8) | data[at++]!;
    }
    held -= width;
    const code = (bits >>> held) & ((1 << width) - 1);
    if (code === END) return;
    budget.left--;
    if (code === CLEAR) {
      next = END + 1;
      width = 9;
      length = 0;
      continue;
    }
    const isFirst = length === 0;
    length = code < next ? lengths[code]! : length + 1;
    budget.left -= length;
    if (!isFirst) {
      if (next < MOST_CODES) lengths[next] = lengths[before]! + 1;
      next++;
      const count = next + early;
      if ((count & (count - 1)) === 0) width = Math.min(Math.log2(count) + 1, 12);
    }
    before = code;
  }
}

/** Of runs: a byte says how many follow, or how often the next one is repeated. */
export function spendRunLength(data: Uint8Array, budget: Budget): void {
  for (let at = 0; at < data.length && budget.left >= 0; ) {
    const head = data[at]!;
    if (head === 128) return;
    at += head < 128 ? head + 2 : 2;
    budget.left -= head < 128 ? head + 1 : 257 - head;
  }
}

export function decodeAscii85(data: Uint8Array, budget: Budget): Uint8Array {
  const { size, end } = ascii85Size(data, budget);
  const out = new Uint8Array(size);
  let made = 0;
  let group = 0;
  let digits = 0;
  const write = (count: number) => {
    for (let i = 0; i < count; i++) out[made++] = group >>> (24 - 8 * i);
    group = 0;
    digits = 0;
  };
  for (let at = 0; at < end; at++) {
    const byte = data[at]!;
    if (isSpace(byte)) continue;
    if (byte === 0x7a && digits === 0) {
      made += 4;
      continue;
    }
    group = (Math.imul(group, 85) + byte - 33) | 0;
    if (++digits === 5) write(4);
  }
  const count = digits - 1;
  if (digits > 0) {
    while (digits++ < 5) group = (Math.imul(group, 85) + 84) | 0;
    write(count);
  }
  return out;
}

/** At most, and where its data ends. */
function ascii85Size(data: Uint8Array, budget: Budget): { size: number; end: number } {
  let size = 4;
  for (let at = 0; at < data.length; at++) {
    const byte = data[at]!;
    if (byte === 0x7e) return { size: Math.ceil(size), end: at };
    size += byte === 0x7a ? 4 : 0.8;
    budget.left--;
    if (budget.left < size) break;
  }
  budget.left -= budget.left < size ? Infinity : 0;
  return { size: budget.left < 0 ? 0 : Math.ceil(size), end: budget.left < 0 ? 0 : data.length };
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

export function decodeAsciiHex(data: Uint8Array, budget: Budget): Uint8Array {
  const end = data.indexOf(0x3e);
  const digits = data.subarray(0, end < 0 ? data.length : end);
  budget.left -= digits.length;
  if (budget.left < 0) return new Uint8Array();
  const out = new Uint8Array(Math.ceil(digits.length / 2));
  let made = 0;
  for (const byte of digits) {
    const value = hexValue(byte);
    if (value < 0) continue;
    out[made >> 1]! |= made % 2 === 0 ? value << 4 : value;
    made++;
  }
  return out.subarray(0, Math.ceil(made / 2));
}

function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = (byte | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}
