/**
 * Tokens of a data set in a folder: written once, a record after the other, and read by number in any order. Whatever the
 * size of the data, it takes no memory worth the name; an order to read in is a permutation of numbers.
 *
 * `tokens.bin`: ids, u16 where the vocabulary allows, else u32. `train.index`, `held-out.index`: 24 bytes a record: f64
 * first token, u32 tokens of the input, u32 of the target, u32 hash, u32 zero; little-endian. `data.json`, written last.
 */
import { createHash, type Hash } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

export type Part = "train" | "held-out";

/** Tokens of one record; a text's `target` is empty. */
export interface TokenRecord {
  input: Int32Array;
  target: Int32Array;
}

/** What is said of a store in its `data.json`. */
export interface StoreHeader<Report> {
  format: 1;
  /** Of what it was made from: files, options, tokenizer. */
  source: string;
  /** Of what it holds. */
  content: string;
  bytesPerToken: 2 | 4;
  records: Record<Part, number>;
  /** Records with a hash below this one are held out. */
  heldOutBelow: number;
  report: Report;
}

const ENTRY_BYTES = 24;
const HEADER = "data.json";
/** Bytes that are gathered before they are written. */
const BUFFER_BYTES = 2 ** 20;

/** Gathers small writes to one file. */
class Appender {
  readonly #file: number;
  readonly #hash: Hash;
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #filled = 0;

  constructor(path: string, hash: Hash) {
    this.#file = openSync(path, "w");
    this.#hash = hash;
  }

  write(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    if (this.#filled + bytes.length > BUFFER_BYTES) this.#flush();
    if (bytes.length > BUFFER_BYTES) writeAll(this.#file, bytes);
    else {
      this.#buffer.set(bytes, this.#filled);
      this.#filled += bytes.length;
    }
  }

  close(): void {
    try {
      this.#flush();
    } finally {
      closeSync(this.#file);
    }
  }

  #flush(): void {
    writeAll(this.#file, this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}

export class TokenStoreWriter {
  readonly #dir: string;
  readonly #bytesPerToken: 2 | 4;
  readonly #hash = createHash("sha256");
  readonly #tokens: Appender;
  readonly #indexes: Record<Part, Appender>;
  readonly #records: Record<Part, number> = { train: 0, "held-out": 0 };
  readonly #heldOutBelow: number;
  #position = 0;
  #closed = false;

  /**
   * @param vocabSize ids are below it
   * @param heldOutShare 0 to 1: of the records, by their hash
   */
  constructor(dir: string, vocabSize: number, heldOutShare: number) {
    this.#dir = dir;
    this.#bytesPerToken = vocabSize <= 2 ** 16 ? 2 : 4;
    this.#heldOutBelow = Math.ceil(heldOutShare * 2 ** 32);
    mkdirSync(dir, { recursive: true });
    rmSync(join(dir, HEADER), { force: true });
    this.#tokens = new Appender(join(dir, "tokens.bin"), this.#hash);
    this.#indexes = {
      train: new Appender(indexPath(dir, "train"), this.#hash),
      "held-out": new Appender(indexPath(dir, "held-out"), this.#hash),
    };
  }

  /** @param key what decides where a record goes: the same key, the same part */
  add(input: readonly number[], target: readonly number[], key: string): void {
    const hash = hashOf(key);
    const part: Part = hash < this.#heldOutBelow ? "held-out" : "train";
    const ids = [...input, ...target];
    const tokens = this.#bytesPerToken === 2 ? Uint16Array.from(ids) : Uint32Array.from(ids);
    this.#tokens.write(new Uint8Array(tokens.buffer));
    const entry = Buffer.alloc(ENTRY_BYTES);
    entry.writeDoubleLE(this.#position, 0);
    entry.writeUInt32LE(input.length, 8);
    entry.writeUInt32LE(target.length, 12);
    entry.writeUInt32LE(hash, 16);
    this.#indexes[part].write(entry);
    this.#records[part]++;
    this.#position += ids.length;
  }

  /** Records so far, of both parts. */
  get count(): number {
    return this.#records.train + this.#records["held-out"];
  }

  /** @param source see {@link StoreHeader} */
  finish<Report>(source: string, report: Report): StoreHeader<Report> {
    this.close();
    let heldOutBelow = this.#heldOutBelow;
    if (heldOutBelow > 0 && this.#records["held-out"] === 0 && this.#records.train > 1)
      heldOutBelow = this.#holdOutOne();
    const header: StoreHeader<Report> = {
      format: 1,
      source,
      content: this.#hash.digest("hex").slice(0, 16),
      bytesPerToken: this.#bytesPerToken,
      records: { ...this.#records },
      heldOutBelow,
      report,
    };
    writeFileSync(join(this.#dir, `${HEADER}.new`), JSON.stringify(header));
    renameSync(join(this.#dir, `${HEADER}.new`), join(this.#dir, HEADER));
    return header;
  }

  /** Safe to call twice. What is not finished is made anew. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const file of [this.#tokens, this.#indexes.train, this.#indexes["held-out"]]) file.close();
  }

  /** Of few records none may be below the bound: then the one with the lowest hash is held out (and its doubles). */
  #holdOutOne(): number {
    const entries = readFileSync(indexPath(this.#dir, "train"));
    const hashes = Array.from({ length: this.#records.train }, (_, i) => entries.readUInt32LE(i * ENTRY_BYTES + 16));
    const bound = Math.min(...hashes) + 1;
    const of = (isHeldOut: boolean) =>
      Buffer.concat(
        hashes.flatMap((hash, i) =>
          hash < bound === isHeldOut ? [entries.subarray(i * ENTRY_BYTES, (i + 1) * ENTRY_BYTES)] : [],
        ),
      );
    const [train, heldOut] = [of(false), of(true)];
    // All of them are the same: nothing can be held out.
    if (train.length === 0) return 0;
    writeFileSync(indexPath(this.#dir, "train"), train);
    writeFileSync(indexPath(this.#dir, "held-out"), heldOut);
    this.#records.train = train.length / ENTRY_BYTES;
    this.#records["held-out"] = heldOut.length / ENTRY_BYTES;
    return bound;
  }
}

/** 32 bits of a text, alike on every machine. */
export function hashOf(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32LE(0);
}

function indexPath(dir: string, part: Part): string {
  return join(dir, `${part}.index`);
}

/** What {@link TokenStoreWriter} made of the same source before, if it did. */
export function readStoreHeader<Report>(dir: string, source: string): StoreHeader<Report> | null {
  let header: StoreHeader<Report>;
  try {
    header = JSON.parse(readFileSync(join(dir, HEADER), "utf8"));
  } catch {
    return null;
  }
  return header.format === 1 && header.source === source ? header : null;
}

export class TokenStore {
  readonly #bytesPerToken: number;
  readonly #tokens: number;
  readonly #indexes: Record<Part, number>;
  readonly #entry = Buffer.alloc(ENTRY_BYTES);

  constructor(dir: string, bytesPerToken: 2 | 4) {
    this.#bytesPerToken = bytesPerToken;
    this.#tokens = openSync(join(dir, "tokens.bin"), "r");
    this.#indexes = {
      train: openSync(indexPath(dir, "train"), "r"),
      "held-out": openSync(indexPath(dir, "held-out"), "r"),
    };
  }

  /** @param number of the record in its part */
  read(part: Part, number: number): TokenRecord {
    readAll(this.#indexes[part], this.#entry, number * ENTRY_BYTES);
    const first = this.#entry.readDoubleLE(0);
    const inputLength = this.#entry.readUInt32LE(8);
    const length = inputLength + this.#entry.readUInt32LE(12);
    const bytes = new Uint8Array(length * this.#bytesPerToken);
    readAll(this.#tokens, bytes, first * this.#bytesPerToken);
    const ids = Int32Array.from(
      this.#bytesPerToken === 2 ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer),
    );
    return { input: ids.subarray(0, inputLength), target: ids.subarray(inputLength) };
  }

  close(): void {
    for (const file of [this.#tokens, this.#indexes.train, this.#indexes["held-out"]]) closeSync(file);
  }
}

function readAll(file: number, into: Uint8Array, position: number): void {
  for (let at = 0; at < into.length; ) {
    const read = readSync(file, into, at, into.length - at, position + at);
    if (read === 0) throw new Error("The folder of prepared data was cut short.");
    at += read;
  }
}
