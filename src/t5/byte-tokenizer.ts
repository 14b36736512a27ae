/**
 * ByT5's tokenizer (Xue et al. 2022): a text is its UTF-8 bytes. Ids: 0 pad, 1 end of sequence, 2 unknown, then the 256
 * bytes, then sentinels, as transformers' ByT5Tokenizer numbers them.
 */
import type { Tokenizer } from "./tokenizer.ts";

const EOS = 1;
const SPECIALS = ["<pad>", "</s>", "<unk>"];
const FIRST_SENTINEL = SPECIALS.length + 256;

/** @param sentinels how many `<extra_id_N>` there are */
export function byteTokenizer(sentinels: number): Tokenizer {
  const special = new RegExp(`(${[...SPECIALS, "<extra_id_\\d+>"].join("|")})`);
  const idOf = (text: string): number | null => {
    const known = SPECIALS.indexOf(text);
    if (known >= 0) return known;
    const sentinel = /^<extra_id_(\d+)>$/.exec(text)?.[1];
    return sentinel !== undefined && Number(sentinel) < sentinels ? FIRST_SENTINEL + Number(sentinel) : null;
  };
  return {
    encode(text) {
      const bytes = new TextEncoder();
      const ids = text.split(special).flatMap((part) => {
        const id = idOf(part);
        return id === null ? Array.from(bytes.encode(part), (byte) => byte + SPECIALS.length) : [id];
      });
      // An end of sequence that the text brings along is not doubled.
      return ids.at(-1) === EOS ? ids : [...ids, EOS];
    },
    decode(ids) {
      const bytes = ids.filter((id) => id >= SPECIALS.length && id < FIRST_SENTINEL).map((id) => id - SPECIALS.length);
      return new TextDecoder("utf-8", { fatal: false, ignoreBOM: true }).decode(Uint8Array.from(bytes));
    },
    nameOf(id) {
      if (id < SPECIALS.length) return SPECIALS[id] ?? "";
      if (id >= FIRST_SENTINEL) return `<extra_id_${id - FIRST_SENTINEL}>`;
      const byte = id - SPECIALS.length;
      return byte < 0x80 ? String.fromCharCode(byte) : `<0x${byte.toString(16).toUpperCase()}>`;
    },
  };
}
