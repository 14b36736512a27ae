/**
 * Decrypts a PDF's streams (ISO 32000-2, 7.6) where no password is needed to open it: it is the rights of who opens it that
 * an owner's password guards. Here, and not by pdf.js, so that what is inflated can be counted first. Strings stay as they
 * are: none of them is text of a page.
 */
import { md5 } from "@noble/hashes/legacy.js";
import { sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import { EdgeT5Error } from "../errors.ts";
import {
  dictionaryAt,
  indexOfText,
  isDictionary,
  isWhite,
  nameOf,
  type PdfDictionary,
  type PdfValue,
} from "./pdf-dictionary.ts";

export interface Decryption {
  /** @param stream data of the object of this number and generation */
  decrypt(stream: Uint8Array, object: number, generation: number): Promise<Uint8Array>;
}

type Method = "none" | "rc4" | "aes-128" | "aes-256";

/** Of a hostile file's; honest ones have two at most. */
const MOST_CANDIDATES = 8;

/** What stands where a password has no characters. */
const PADDING = Uint8Array.of(
  ...[0x28, 0xbf, 0x4e, 0x5e, 0x4e, 0x75, 0x8a, 0x41, 0x64, 0x00, 0x4e, 0x56, 0xff, 0xfa, 0x01, 0x08],
  ...[0x2e, 0x2e, 0x00, 0xb6, 0xd0, 0x68, 0x3e, 0x80, 0x2f, 0x0c, 0xa9, 0xfe, 0x64, 0x53, 0x69, 0x7a],
);

/** Where a trailer says `/Encrypt`: its keyword's places. */
export function encryptKeys(bytes: Uint8Array): number[] {
  const places: number[] = [];
  for (let at = indexOfText(bytes, KEY, 0); at < bytes.length; at = indexOfText(bytes, KEY, at + KEY.length)) {
    if (!/[A-Za-z]/.test(String.fromCharCode(bytes[at + KEY.length] ?? 0))) places.push(at);
  }
  return places;
}

const KEY = "/Encrypt";

/**
 * How the file is decrypted.
 *
 * @param keys as `encryptKeys` found them, one at least
 * @throws EdgeT5Error `E_FORMAT` where it needs a password, or a way that is not known here
 */
export async function openEncryption(bytes: Uint8Array, keys: readonly number[]): Promise<Decryption> {
  const ids = [...candidatesOf(bytes, "/ID", (at) => firstString(bytes, at)), new Uint8Array()];
  const dictionaries = keys.slice(0, MOST_CANDIDATES).flatMap((at) => dictionariesAt(bytes, at + KEY.length));
  if (dictionaries.length === 0) throw unknownWay("which it does not say");
  for (const dictionary of dictionaries) {
    const filter = nameOf(dictionary.get("Filter"));
    if (filter !== "Standard") throw unknownWay(`by the filter ${filter}`);
    const method = methodOf(dictionary);
    for (const id of ids) {
      const key = method === "aes-256" ? await longKey(dictionary) : shortKey(dictionary, id);
      if (key) return decryption(method, key);
    }
  }
  throw passwordNeeded();
}

function candidatesOf<T>(bytes: Uint8Array, text: string, read: (at: number) => T | null): T[] {
  const found: T[] = [];
  for (let at = indexOfText(bytes, text, 0); at < bytes.length; at = indexOfText(bytes, text, at + 1)) {
    const value = read(at + text.length);
    if (value !== null && found.push(value) === MOST_CANDIDATES) break;
  }
  return found;
}

/** Of the array of two that `/ID` is followed by. */
function firstString(bytes: Uint8Array, at: number): Uint8Array | null {
  let start = at;
  while (isWhite(bytes[start])) start++;
  if (bytes[start] !== 0x5b) return null;
  const [value] = arrayAt(bytes, start) ?? [];
  return value instanceof Uint8Array ? value : null;
}

function arrayAt(bytes: Uint8Array, at: number): readonly PdfValue[] | null {
  const text = bytes.subarray(at, at + 1000);
  const wrapped = new Uint8Array(text.length + 4);
  wrapped.set([0x3c, 0x3c, 0x2f, 0x41], 0);
  wrapped.set(text, 4);
  const end = wrapped.indexOf(0x5d);
  for (let close = end; close >= 0; close = wrapped.indexOf(0x5d, close + 1)) {
    const closed = new Uint8Array(close + 3);
    closed.set(wrapped.subarray(0, close + 1));
    closed.set([0x3e, 0x3e], close + 1);
    const value = dictionaryAt(closed, 0)?.dictionary.get("A");
    if (Array.isArray(value)) return value as readonly PdfValue[];
  }
  return null;
}

/** The dictionary itself, or the objects of the number that stands for it. */
function dictionariesAt(bytes: Uint8Array, at: number): PdfDictionary[] {
  const direct = dictionaryAt(bytes, at);
  if (direct) return [direct.dictionary];
  const [, object] = /^\s*(\d+)\s+\d+\s+R/.exec(String.fromCharCode(...bytes.subarray(at, at + 40))) ?? [];
  if (object === undefined) return [];
  return candidatesOf(bytes, `${object} 0 obj`, (start) => dictionaryAt(bytes, start)?.dictionary ?? null);
}

function methodOf(dictionary: PdfDictionary): Method {
  const version = dictionary.get("V");
  if (version === 1 || version === 2) return "rc4";
  if (version !== 4 && version !== 5)
    throw unknownWay(`of version ${typeof version === "number" ? version : "unknown"}`);
  const filters = dictionary.get("CF");
  const name = nameOf(dictionary.get("StmF")) ?? "Identity";
  const filter = isDictionary(filters) ? filters.get(name) : undefined;
  const method = isDictionary(filter) ? nameOf(filter.get("CFM")) : null;
  if (name === "Identity" || method === "None") return "none";
  const known = version === 5 ? { AESV3: "aes-256" } : { V2: "rc4", AESV2: "aes-128" };
  const found = Object.entries(known).find(([name]) => name === method)?.[1];
  if (!found) throw unknownWay(`by the method ${method}`);
  return found as Method;
}

function bytesOf(dictionary: PdfDictionary, name: string, length: number): Uint8Array {
  const value = dictionary.get(name);
  if (value instanceof Uint8Array && value.length >= length) return value.subarray(0, length);
  throw new EdgeT5Error("E_DAMAGED", `The PDF is encrypted, and what it says of it is broken (${name}).`);
}

function numberOf(dictionary: PdfDictionary, name: string, otherwise: number): number {
  const value = dictionary.get(name);
  return typeof value === "number" ? value : otherwise;
}

/** Up to 128 bits, of an empty password; null where that does not open the file. */
function shortKey(dictionary: PdfDictionary, id: Uint8Array): Uint8Array | null {
  const revision = numberOf(dictionary, "R", 2);
  const user = bytesOf(dictionary, "U", 32);
  const permissions = new DataView(new ArrayBuffer(4));
  permissions.setInt32(0, numberOf(dictionary, "P", 0) | 0, true);
  const hidesNoMetadata = revision >= 4 && dictionary.get("EncryptMetadata") === false;
  const parts = [PADDING, bytesOf(dictionary, "O", 32), new Uint8Array(permissions.buffer), id];
  if (hidesNoMetadata) parts.push(new Uint8Array(4).fill(255));
  // Files differ in where they say it, and some say it wrong.
  const lengths = new Set([numberOf(dictionary, "Length", 40) / 8, 16, 5]);
  for (const length of lengths) {
    if (!Number.isInteger(length) || length < 5 || length > 16) continue;
    let hash = md5(joined(parts));
    for (let i = 0; i < 50 && revision >= 3; i++) hash = md5(hash.subarray(0, length));
    const key = hash.subarray(0, revision === 2 ? 5 : length);
    if (isEqual(userEntry(key, revision, id), user)) return key;
  }
  return null;
}

/** What the file has as `U` for this key; of later revisions, its first 16 bytes. */
function userEntry(key: Uint8Array, revision: number, id: Uint8Array): Uint8Array {
  if (revision === 2) return rc4(key, PADDING);
  let entry = md5(joined([PADDING, id]));
  for (let i = 0; i < 20; i++) {
    entry = rc4(
      key.map((byte) => byte ^ i),
      entry,
    );
  }
  return entry;
}

/** 256 bits, of an empty password; null where that does not open the file. */
async function longKey(dictionary: PdfDictionary): Promise<Uint8Array | null> {
  const user = bytesOf(dictionary, "U", 48);
  const hash = numberOf(dictionary, "R", 6) >= 6 ? hardHash : async (salt: Uint8Array) => sha256(salt);
  if (!isEqual(user.subarray(0, 32), await hash(user.subarray(32, 40)))) return null;
  return aesDecrypt(await hash(user.subarray(40, 48)), new Uint8Array(16), bytesOf(dictionary, "UE", 32));
}

/** Of revision 6: as many rounds as its own bytes say. */
async function hardHash(salt: Uint8Array): Promise<Uint8Array> {
  let key = sha256(salt);
  for (let round = 0; ; round++) {
    const repeated = joined(Array.from({ length: 64 }, () => key));
    const encrypted = await aesEncrypt(key.subarray(0, 16), key.subarray(16, 32), repeated);
    // 256 is 1 more than a multiple of 3: a number of 16 bytes leaves what their sum leaves.
    const remainder = encrypted.subarray(0, 16).reduce((sum, byte) => sum + byte, 0) % 3;
    key = [sha256, sha384, sha512][remainder]!(encrypted);
    if (round >= 63 && encrypted.at(-1)! <= round - 31) return key.subarray(0, 32);
  }
}

function decryption(method: Method, key: Uint8Array): Decryption {
  if (method === "none") return { decrypt: async (stream) => stream };
  if (method === "aes-256") return { decrypt: (stream) => decryptAes(key, stream) };
  return {
    async decrypt(stream, object, generation) {
      const own = objectKey(key, object, generation, method === "aes-128");
      return method === "rc4" ? rc4(own, stream) : decryptAes(own, stream);
    },
  };
}

function objectKey(key: Uint8Array, object: number, generation: number, isAes: boolean): Uint8Array {
  const number = Uint8Array.of(object, object >> 8, object >> 16, generation, generation >> 8);
  const salt = isAes ? [Uint8Array.of(0x73, 0x41, 0x6c, 0x54)] : [];
  return md5(joined([key, number, ...salt])).subarray(0, Math.min(key.length + 5, 16));
}

/** Its first block is what the others begin with; its last one says how much of it is filled up. */
async function decryptAes(key: Uint8Array, stream: Uint8Array): Promise<Uint8Array> {
  const length = stream.length - (stream.length % 16);
  if (length < 32) return new Uint8Array();
  const plain = await aesDecrypt(key, stream.subarray(0, 16), stream.subarray(16, length));
  const filled = plain.at(-1)!;
  return filled >= 1 && filled <= 16 ? plain.subarray(0, plain.length - filled) : plain;
}

function aesKey(key: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", key.slice(), "AES-CBC", false, ["encrypt", "decrypt"]);
}

/** Whole blocks, without one that says how much is filled up. */
async function aesEncrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Promise<Uint8Array> {
  const encrypted = await crypto.subtle.encrypt({ name: "AES-CBC", iv: iv.slice() }, await aesKey(key), data.slice());
  return new Uint8Array(encrypted, 0, data.length);
}

/** Whole blocks. WebCrypto wants one more that says that nothing is filled up: it is made for the last one of these. */
async function aesDecrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Promise<Uint8Array> {
  const aes = await aesKey(key);
  const last = { name: "AES-CBC", iv: data.slice(-16) };
  const filler = new Uint8Array(await crypto.subtle.encrypt(last, aes, new Uint8Array()));
  const name = "AES-CBC";
  return new Uint8Array(await crypto.subtle.decrypt({ name, iv: iv.slice() }, aes, joined([data, filler])));
}

function rc4(key: Uint8Array, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const state = Uint8Array.from({ length: 256 }, (_, i) => i);
  const swap = (i: number, j: number) => {
    const held = state[i]!;
    state[i] = state[j]!;
    state[j] = held;
  };
  for (let i = 0, j = 0; i < 256; i++) {
    j = (j + state[i]! + key[i % key.length]!) & 255;
    swap(i, j);
  }
  const out = new Uint8Array(data.length);
  for (let n = 0, i = 0, j = 0; n < data.length; n++) {
    i = (i + 1) & 255;
    j = (j + state[i]!) & 255;
    swap(i, j);
    out[n] = data[n]! ^ state[(state[i]! + state[j]!) & 255]!;
  }
  return out;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** As far as the shorter one goes. */
function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => i >= b.length || byte === b[i]);
}

export function passwordNeeded(): EdgeT5Error {
  return new EdgeT5Error(
    "E_FORMAT",
    "The PDF needs a password to be opened. Send a copy without it: open it and print it to a new PDF, or run qpdf --password=PASSWORD --decrypt IN.pdf OUT.pdf.",
  );
}

function unknownWay(how: string): EdgeT5Error {
  return new EdgeT5Error(
    "E_FORMAT",
    `The PDF is encrypted in a way that is not read here, ${how}. Send a copy without protection: print it to a new PDF.`,
  );
}
