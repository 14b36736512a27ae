/**
 * ZIP archives within bounds. The central directory is read first and held to the limits; an entry is inflated only when
 * it is asked for, in pieces, and no further than the size that the directory gives, for declared sizes lie. An entry that
 * nobody asks for costs nothing, whatever it says of itself.
 *
 * Format: PKWARE APPNOTE 6.3. What two readers could take for two archives (bytes around it, entries that share bytes,
 * names that occur twice) is refused.
 */
import { Inflate } from "fflate/browser";
import { EdgeT5Error } from "../errors.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";

const LOCAL_HEADER = 0x04034b50;
const DIRECTORY_ENTRY = 0x02014b50;
const END = 0x06054b50;
const END_64 = 0x06064b50;
const END_64_LOCATOR = 0x07064b50;
const END_BYTES = 22;
const END_64_LOCATOR_BYTES = 20;
const MAX_COMMENT = 65_535;

/** Compressed bytes of one push: deflate makes at most 1032 times as many of them, about 4 MB. */
const PUSH_BYTES = 4096;
/** A stored block of deflate (64 kB) comes out when all of it is in: as many pushes may make nothing. */
const IDLE_PUSHES = 20;
/** Small entries of one repeated letter are nobody's bomb. */
const RATIO_FROM_BYTES = 1_000_000;

interface Entry {
  name: string;
  flags: number;
  method: number;
  crc: number;
  compressedSize: number;
  size: number;
  /** Of its local header. */
  offset: number;
  /** Of its data. */
  start: number;
}

export class ZipArchive {
  readonly #bytes: Uint8Array;
  readonly #limits: ReadLimits;
  readonly #entries = new Map<string, Entry>();
  #inflated = 0;

  /**
   * @throws EdgeT5Error `E_FORMAT` for what is no archive, `E_DAMAGED` for a cut, broken or ambiguous one, `E_TOO_LARGE`
   * for too many bytes or entries
   */
  constructor(bytes: Uint8Array, limits: ReadLimits) {
    this.#bytes = bytes;
    this.#limits = limits;
    if (bytes.length > limits.maxBytes) {
      throw tooLarge(`The archive has ${bytes.length.toLocaleString("en")} bytes`, "maxBytes", limits);
    }
    for (const entry of readDirectory(bytes, limits)) {
      if (entry.name.endsWith("/")) continue;
      // Office's names differ by more than case (ECMA-376, part 2).
      const key = entry.name.toLowerCase();
      if (this.#entries.has(key)) throw damaged(`The archive has two entries of the name ${quoted(entry.name)}`);
      this.#entries.set(key, entry);
    }
  }

  /** Of files, without folders; `/` between. */
  get names(): string[] {
    return [...this.#entries.values()].map(({ name }) => name);
  }

  has(name: string): boolean {
    return this.#entries.has(name.toLowerCase());
  }

  /**
   * Gives an entry's bytes in pieces of at most 4 MB.
   *
   * @throws EdgeT5Error `E_TOO_LARGE` before the first piece, when the sizes that the directory gives are over a limit;
   * `E_DAMAGED` for an entry that is not there, does not inflate, or is not what the directory says;
   * `E_FORMAT` for an encrypted one, or another compression than deflate
   */
  stream(name: string, take: (piece: Uint8Array) => void): void {
    const entry = this.#entries.get(name.toLowerCase());
    if (!entry) throw damaged(`The archive has no ${quoted(name)}`);
    this.#checkSizes(entry);
    let size = 0;
    let crc = 0;
    const checked = (piece: Uint8Array) => {
      size += piece.length;
      if (size > entry.size) throw damaged(`${quoted(name)} inflates to more bytes than the archive says`);
      crc = crc32(piece, crc);
      take(piece);
      return size < entry.size;
    };
    const data = this.#bytes.subarray(entry.start, entry.start + entry.compressedSize);
    if (entry.method === 0) for (const piece of pieces(data, 65_536)) checked(piece);
    else inflate(data, name, checked);
    if (size !== entry.size || crc !== entry.crc) throw damaged(`${quoted(name)} is not what the archive says it is`);
  }

  /** An entry's bytes in one piece. @throws as {@link stream} */
  read(name: string): Uint8Array {
    const taken: Uint8Array[] = [];
    this.stream(name, (piece) => taken.push(piece));
    const bytes = new Uint8Array(taken.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of taken) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  #checkSizes({ name, flags, method, size, compressedSize }: Entry): void {
    // Encrypted, by a strong method, directory and all.
    if (flags & 0x2041) {
      throw new EdgeT5Error("E_FORMAT", `${quoted(name)} is encrypted. Send the file without a password.`);
    }
    if (method !== 0 && method !== 8) {
      const message = `${quoted(name)} is compressed by method ${method}; only deflate is read. Save the file anew.`;
      throw new EdgeT5Error("E_FORMAT", message);
    }
    if (method === 0 && size !== compressedSize) throw damaged(`${quoted(name)} is stored, but has two sizes`);
    if (size > RATIO_FROM_BYTES && size > compressedSize * this.#limits.maxRatio) {
      const ratio = Math.round(size / Math.max(compressedSize, 1)).toLocaleString("en");
      throw tooLarge(`${quoted(name)} inflates to ${ratio} times its size`, "maxRatio", this.#limits);
    }
    this.#inflated += size;
    if (this.#inflated > this.#limits.maxInflatedBytes) {
      const inflated = this.#inflated.toLocaleString("en");
      throw tooLarge(`With ${quoted(name)} the file inflates to ${inflated} bytes`, "maxInflatedBytes", this.#limits);
    }
  }
}

/** Whether the bytes begin as an archive does. */
export function isZip(bytes: Uint8Array): boolean {
  const [p, k, a, b] = bytes;
  return p === 0x50 && k === 0x4b && ((a === 3 && b === 4) || (a === 5 && b === 6));
}

function readDirectory(bytes: Uint8Array, limits: ReadLimits): Entry[] {
  if (!isZip(bytes)) throw new EdgeT5Error("E_FORMAT", "The file is no ZIP archive. Send it as it was saved.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { count, offset, size } = readEnd(view);
  if (count > limits.maxEntries) {
    throw tooLarge(`The archive has ${count.toLocaleString("en")} entries`, "maxEntries", limits);
  }
  const entries: Entry[] = [];
  let at = offset;
  for (let i = 0; i < count; i++) {
    if (at + 46 > offset + size || view.getUint32(at, true) !== DIRECTORY_ENTRY) throw brokenDirectory();
    const next =
      at + 46 + view.getUint16(at + 28, true) + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    if (next > offset + size) throw brokenDirectory();
    entries.push(readEntry(view, bytes, at));
    at = next;
  }
  if (at !== offset + size) throw brokenDirectory();
  checkSpans(entries, offset);
  return entries;
}

/** Where the directory lies. It ends the file, but for its own end. */
function readEnd(view: DataView): { count: number; offset: number; size: number } {
  const end = findEnd(view);
  if (view.getUint16(end + 4, true) !== view.getUint16(end + 6, true)) throw brokenDirectory();
  let count = view.getUint16(end + 10, true);
  let size = view.getUint32(end + 12, true);
  let offset = view.getUint32(end + 16, true);
  let limit = end;
  const locator = end - END_64_LOCATOR_BYTES;
  if (locator >= 0 && view.getUint32(locator, true) === END_64_LOCATOR) {
    limit = Number(view.getBigUint64(locator + 8, true));
    if (limit + 56 > locator || view.getUint32(limit, true) !== END_64) throw brokenDirectory();
    count = Number(view.getBigUint64(limit + 32, true));
    size = Number(view.getBigUint64(limit + 40, true));
    offset = Number(view.getBigUint64(limit + 48, true));
  }
  if (offset + size !== limit) throw brokenDirectory();
  return { count, offset, size };
}

function findEnd(view: DataView): number {
  const last = view.byteLength - END_BYTES;
  for (let at = last; at >= Math.max(0, last - MAX_COMMENT); at--) {
    if (view.getUint32(at, true) === END && view.getUint16(at + 20, true) === last - at) return at;
  }
  throw damaged("The archive has no end: it is cut off, or other bytes follow it");
}

function readEntry(view: DataView, bytes: Uint8Array, at: number): Entry {
  const nameBytes = bytes.subarray(at + 46, at + 46 + view.getUint16(at + 28, true));
  const name = new TextDecoder().decode(nameBytes).replaceAll("\\", "/");
  checkName(name);
  const extra = at + 46 + nameBytes.length;
  const sizes = readSizes(view, at, extra, extra + view.getUint16(at + 30, true));
  const { offset } = sizes;
  if (offset + 30 > view.byteLength || view.getUint32(offset, true) !== LOCAL_HEADER) throw brokenDirectory();
  const start = offset + 30 + view.getUint16(offset + 26, true) + view.getUint16(offset + 28, true);
  const localName = bytes.subarray(offset + 30, offset + 30 + view.getUint16(offset + 26, true));
  if (localName.length !== nameBytes.length || localName.some((byte, i) => byte !== nameBytes[i])) {
    throw damaged(`${quoted(name)} has another name in the archive's directory than beside its bytes`);
  }
  return {
    ...sizes,
    name,
    flags: view.getUint16(at + 8, true),
    method: view.getUint16(at + 10, true),
    crc: view.getUint32(at + 16, true),
    start,
  };
}

/** Of an entry of the directory; those of 32 bits that are all ones stand in its extra field (Zip64). */
function readSizes(view: DataView, at: number, extra: number, extraEnd: number) {
  const sizes = {
    size: view.getUint32(at + 24, true),
    compressedSize: view.getUint32(at + 20, true),
    offset: view.getUint32(at + 42, true),
  };
  for (let field = extra; field + 4 <= extraEnd; field += 4 + view.getUint16(field + 2, true)) {
    if (view.getUint16(field, true) !== 1) continue;
    let value = field + 4;
    for (const key of ["size", "compressedSize", "offset"] as const) {
      if (sizes[key] !== 0xffffffff) continue;
      if (value + 8 > extraEnd) throw brokenDirectory();
      sizes[key] = Number(view.getBigUint64(value, true));
      value += 8;
    }
    break;
  }
  return sizes;
}

function checkName(name: string): void {
  if (name === "" || name.startsWith("/") || /^[a-z]:|\0/i.test(name) || name.split("/").includes("..")) {
    throw damaged(`The archive has an entry whose name leads out of it, ${quoted(name)}`);
  }
}

/** Bytes that belong to two entries inflate twice: how a small archive becomes petabytes. */
function checkSpans(entries: readonly Entry[], directory: number): void {
  let end = 0;
  for (const entry of [...entries].sort((a, b) => a.offset - b.offset)) {
    if (entry.offset < end) throw damaged(`${quoted(entry.name)} shares bytes with another entry of the archive`);
    end = entry.start + entry.compressedSize;
  }
  if (end > directory) throw brokenDirectory();
}

/** @param take says whether more is wanted */
function inflate(data: Uint8Array, name: string, take: (piece: Uint8Array) => boolean): void {
  let made: Uint8Array | undefined;
  const stream = new Inflate((piece) => {
    made = piece;
  });
  let idle = 0;
  let wanted = true;
  for (const [i, piece] of [...pieces(data, PUSH_BYTES)].entries()) {
    try {
      stream.push(piece, (i + 1) * PUSH_BYTES >= data.length);
    } catch (cause) {
      throw damaged(`${quoted(name)} does not inflate`, { cause });
    }
    idle = made?.length ? 0 : idle + 1;
    // What the stream holds back is copied at every push.
    if (idle > IDLE_PUSHES) throw damaged(`${quoted(name)} does not inflate`);
    if (made?.length) wanted = take(made);
    if (!wanted) return;
  }
}

function* pieces(data: Uint8Array, bytes: number): Generator<Uint8Array> {
  for (let at = 0; at < data.length; at += bytes) yield data.subarray(at, at + bytes);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crc32(bytes: Uint8Array, before: number): number {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]!) & 255]!;
  return ~crc >>> 0;
}

function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}

function brokenDirectory(): EdgeT5Error {
  return damaged("The archive's directory is broken");
}

function damaged(what: string, options?: { cause: unknown }): EdgeT5Error {
  return new EdgeT5Error("E_DAMAGED", `${what}. Send the file again, or save it anew.`, options);
}
