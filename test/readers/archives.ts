/** Archives for the tests: well-made ones by fflate, others by hand. */
import { deflateSync, strToU8, zipSync } from "fflate";

export function zipOf(files: Readonly<Record<string, string | Uint8Array>>): Uint8Array {
  return zipSync(
    Object.fromEntries(
      Object.entries(files).map(([name, file]) => [name, typeof file === "string" ? strToU8(file) : file]),
    ),
  );
}

/** An entry as it is written, with the lies that are given. */
export interface RawEntry {
  name: string;
  content: Uint8Array;
  /** Already compressed, for content. */
  data?: Uint8Array;
  size?: number;
  compressedSize?: number;
  crc?: number;
  flags?: number;
  method?: number;
  localName?: string;
  /** Its local header lies there: it writes none of its own. */
  offset?: number;
  /** Zip64: sizes in the extra field. */
  zip64?: boolean;
}

/** @param counted how many entries the end says that there are */
export function rawZip(entries: readonly RawEntry[], counted = entries.length, tail = new Uint8Array()): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const entry of entries) {
    const data = entry.data ?? (entry.method === 0 ? entry.content : deflateSync(entry.content));
    const common = (name: string) => [
      ...u16(entry.flags ?? 0, entry.method ?? 8, 0, 0),
      ...u32(entry.crc ?? crc32(entry.content)),
      ...(entry.zip64
        ? u32(0xffffffff, 0xffffffff)
        : u32(entry.compressedSize ?? data.length, entry.size ?? entry.content.length)),
      ...u16(strToU8(name).length),
    ];
    const extra = entry.zip64
      ? [...u16(1, 16), ...u32(entry.size ?? entry.content.length, 0, entry.compressedSize ?? data.length, 0)]
      : [];
    const offset = entry.offset ?? at;
    if (entry.offset === undefined) {
      const name = entry.localName ?? entry.name;
      const local = [...u32(0x04034b50), ...u16(45), ...common(name), ...u16(extra.length), ...strToU8(name), ...extra];
      parts.push(Uint8Array.from(local), data);
      at += local.length + data.length;
    }
    directory.push(
      Uint8Array.from([
        ...[...u32(0x02014b50), ...u16(45, 45), ...common(entry.name), ...u16(extra.length, 0, 0, 0)],
        ...[...u32(0, offset), ...strToU8(entry.name), ...extra],
      ]),
    );
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = [...u32(0x06054b50), ...u16(0, 0, counted & 0xffff, counted & 0xffff), ...u32(size, at), ...u16(0)];
  return joined([...parts, ...directory, Uint8Array.from(end), tail]);
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

function u16(...numbers: number[]): number[] {
  return numbers.flatMap((number) => [number & 255, (number >> 8) & 255]);
}

function u32(...numbers: number[]): number[] {
  return numbers.flatMap((number) => [0, 8, 16, 24].map((shift) => (number >>> shift) & 255));
}

export function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}
