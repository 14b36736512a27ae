/**
 * A PDF's dictionaries as text, for what has to be known of them before pdf.js reads the file. Strict: what could be read in
 * two ways is not read at all, so that pdf.js sees the same.
 */

export interface PdfName {
  readonly name: string;
  /** Where it stands, with its slash. */
  readonly start: number;
  readonly end: number;
}

export interface PdfReference {
  readonly object: number;
  readonly generation: number;
}

export type PdfDictionary = ReadonlyMap<string, PdfValue>;
export type PdfValue =
  | number
  | boolean
  | null
  | PdfName
  | PdfReference
  | Uint8Array
  | readonly PdfValue[]
  | PdfDictionary;

const DEEPEST = 32;

/** The dictionary that begins at `at`, after white space, and where it ends; null for what is none. */
export function dictionaryAt(bytes: Uint8Array, at: number): { dictionary: PdfDictionary; end: number } | null {
  const lexer = new Lexer(bytes, at);
  try {
    const dictionary = lexer.value();
    return dictionary instanceof Map ? { dictionary, end: lexer.at } : null;
  } catch (error) {
    if (error === UNREADABLE) return null;
    throw error;
  }
}

export function nameOf(value: PdfValue | undefined): string | null {
  return isName(value) ? value.name : null;
}

export function isName(value: PdfValue | undefined): value is PdfName {
  return typeof value === "object" && value !== null && "name" in value;
}

export function isReference(value: PdfValue | undefined): value is PdfReference {
  return typeof value === "object" && value !== null && "generation" in value;
}

export function isDictionary(value: PdfValue | undefined): value is PdfDictionary {
  return value instanceof Map;
}

export function isWhite(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09 || byte === 0x0c || byte === 0;
}

/** Where `text` stands next; the bytes' length where it does not. */
export function indexOfText(bytes: Uint8Array, text: string, from: number): number {
  const first = text.charCodeAt(0);
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (isTextAt(bytes, at, text)) return at;
  }
  return bytes.length;
}

export function isTextAt(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

const UNREADABLE = new Error("Not a dictionary that can be read in one way only.");
const CLOSE = { array: Symbol("]"), dictionary: Symbol(">>") } as const;
type Close = (typeof CLOSE)[keyof typeof CLOSE];

class Lexer {
  at: number;
  readonly #bytes: Uint8Array;
  #depth = 0;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  value(): PdfValue {
    const value = this.#next();
    if (typeof value === "symbol" || value === "R") throw UNREADABLE;
    return value;
  }

  #next(): PdfValue | Close | "R" {
    while (isWhite(this.#bytes[this.at])) this.at++;
    const byte = this.#bytes[this.at];
    if (byte === 0x2f) return this.#name();
    if (byte === 0x28) return this.#string();
    if (byte === 0x5b) return this.#until(CLOSE.array, 1);
    if (byte === 0x5d) return this.#skip(1, CLOSE.array);
    if (byte === 0x3c && this.#bytes[this.at + 1] === 0x3c) return pairs(this.#until(CLOSE.dictionary, 2));
    if (byte === 0x3c) return this.#hex();
    if (byte === 0x3e && this.#bytes[this.at + 1] === 0x3e) return this.#skip(2, CLOSE.dictionary);
    return this.#word();
  }

  #skip(length: number, close: Close): Close {
    this.at += length;
    return close;
  }

  #until(close: Close, beginning: number): PdfValue[] {
    if (++this.#depth > DEEPEST) throw UNREADABLE;
    this.at += beginning;
    const values: PdfValue[] = [];
    for (;;) {
      const value = this.#next();
      if (value === close) break;
      if (typeof value === "symbol") throw UNREADABLE;
      values.push(value === "R" ? reference(values) : value);
    }
    this.#depth--;
    return values;
  }

  /** Names may have any character as `#` and two digits. */
  #name(): PdfName {
    const start = this.at++;
    const raw = this.#regular();
    const name = raw.replace(/#([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
    return { name, start, end: this.at };
  }

  #word(): number | boolean | null | "R" {
    const word = this.#regular();
    if (word === "R") return word;
    if (word === "true" || word === "false") return word === "true";
    if (word === "null") return null;
    if (!/^[-+.\d]+$/.test(word)) throw UNREADABLE;
    return Number(word);
  }

  #regular(): string {
    let text = "";
    for (; this.at < this.#bytes.length; this.at++) {
      const byte = this.#bytes[this.at]!;
      const character = String.fromCharCode(byte);
      if (character === "\\") throw UNREADABLE;
      if (isWhite(byte) || "()<>[]{}/%".includes(character)) return text;
      text += character;
    }
    throw UNREADABLE;
  }

  #hex(): Uint8Array {
    const end = this.#bytes.indexOf(0x3e, this.at);
    if (end < 0) throw UNREADABLE;
    let digits = "";
    for (const byte of this.#bytes.subarray(this.at + 1, end)) {
      if (!isWhite(byte)) digits += String.fromCharCode(byte);
    }
    if (!/^[0-9a-f]*$/i.test(digits)) throw UNREADABLE;
    this.at = end + 1;
    const pairs = digits.match(/..?/g) ?? [];
    return Uint8Array.from(pairs, (pair) => Number.parseInt(pair.padEnd(2, "0"), 16));
  }

  #string(): Uint8Array {
    const out: number[] = [];
    for (let depth = 0; this.at < this.#bytes.length; ) {
      const byte = this.#bytes[this.at++]!;
      if (byte === 0x28 && depth++ === 0) continue;
      if (byte === 0x29 && --depth === 0) return Uint8Array.from(out);
      if (byte === 0x5c) out.push(...this.#escaped());
      else out.push(byte);
    }
    throw UNREADABLE;
  }

  /** After a backslash: a letter's character, a number of up to three digits, or the end of a line, which is nothing. */
  #escaped(): number[] {
    const [digits] = /^[0-7]{0,3}/.exec(String.fromCharCode(...this.#bytes.subarray(this.at, this.at + 3))) ?? [""];
    if (digits !== "") {
      this.at += digits.length;
      return [Number.parseInt(digits, 8) & 255];
    }
    const byte = this.#bytes[this.at++] ?? 0;
    if (byte === 0x0a) return [];
    if (byte === 0x0d) {
      if (this.#bytes[this.at] === 0x0a) this.at++;
      return [];
    }
    const letter = "nrtbf".indexOf(String.fromCharCode(byte));
    return [[0x0a, 0x0d, 0x09, 0x08, 0x0c][letter] ?? byte];
  }
}

function reference(values: PdfValue[]): PdfReference {
  const generation = values.pop();
  const object = values.pop();
  if (typeof object !== "number" || typeof generation !== "number") throw UNREADABLE;
  return { object, generation };
}

function pairs(values: readonly PdfValue[]): PdfDictionary {
  const dictionary = new Map<string, PdfValue>();
  for (let i = 0; i < values.length; i += 2) {
    const key = values[i];
    const value = values[i + 1];
    if (!isName(key) || value === undefined) throw UNREADABLE;
    dictionary.set(key.name, value);
  }
  return dictionary;
}
