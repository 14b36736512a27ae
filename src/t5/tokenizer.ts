/** Text to token ids and back, with the checkpoint's own `tokenizer.json`. */
import type { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { EdgeT5Error } from "../errors.ts";
import { readText, type Store } from "../store/store.ts";
import { byteTokenizer } from "./byte-tokenizer.ts";
import { blobKey, type ManifestHead } from "./manifest.ts";
import { createTokenizer } from "./unigram.ts";

export interface Tokenizer {
  /**
   * Token ids of a text, the end of sequence included.
   *
   * @throws EdgeT5Error `E_CONTEXT_LENGTH` for a single word of hundreds of thousands of tokens
   */
  encode(text: string): number[];
  /** The text of token ids, special tokens left out. */
  decode(ids: readonly number[]): string;
  /** A token's own text, a word's leading space included; special tokens by their name. */
  nameOf(id: number): string;
}

/**
 * Spaces stay as the model wrote them, as transformers' fast T5 tokenizer leaves them (`clean_up_tokenization_spaces` of
 * `tokenizer_config.json` is for its slow one): "Bonjour !" keeps its space.
 */
const DECODING = { skip_special_tokens: true, clean_up_tokenization_spaces: false };

/**
 * @throws EdgeT5Error `E_TOKENIZER` when the package has no tokenizer or it cannot be read, `E_BLOB_MISSING` when its
 * blob is not in the store
 */
export async function loadTokenizer(manifest: ManifestHead, store: Store): Promise<Tokenizer> {
  if (!manifest.tokenizer) {
    throw new EdgeT5Error(
      "E_TOKENIZER",
      `Package ${manifest.name} has no tokenizer. Put tokenizer.json into the checkpoint and re-run edge-t5 split.`,
    );
  }
  if ("sentinels" in manifest.tokenizer) return byteTokenizer(manifest.tokenizer.sentinels);
  const { json, config } = manifest.tokenizer;
  const [definition, settings] = await Promise.all([readBlob(store, json), config ? readBlob(store, config) : "{}"]);
  const message = `The tokenizer of package ${manifest.name} cannot be read. Re-run edge-t5 split with a Hugging Face tokenizer.json.`;
  return tokenizerFrom(definition, settings, message);
}

/**
 * A checkpoint's own tokenizer.
 *
 * @param definition text of `tokenizer.json`
 * @param settings text of `tokenizer_config.json`
 * @throws EdgeT5Error `E_TOKENIZER` with `message` when they are not what Hugging Face's libraries write
 */
export function tokenizerFrom(definition: string, settings: string, message: string): Tokenizer {
  const tokenizer = parseTokenizer(definition, settings, message);
  return {
    encode: (text) => encode(tokenizer, text),
    decode: (ids) => (ids.length === 0 ? "" : tokenizer.decode([...ids], DECODING)),
    nameOf: (id) => (tokenizer.id_to_token(id) ?? "").replaceAll("\u2581", " "),
  };
}

/**
 * @param definition text of `tokenizer.json`
 * @param settings text of `tokenizer_config.json`
 * @throws EdgeT5Error `E_TOKENIZER` with `message` when they are not what Hugging Face's libraries write
 */
export function parseTokenizer(definition: string, settings: string, message: string): HuggingFaceTokenizer {
  try {
    return createTokenizer(JSON.parse(definition), JSON.parse(settings));
  } catch (cause) {
    throw new EdgeT5Error("E_TOKENIZER", message, { cause });
  }
}

function encode(tokenizer: HuggingFaceTokenizer, text: string): number[] {
  try {
    return tokenizer.encode(text).ids;
  } catch (cause) {
    // The library passes a word's tokens as arguments: some hundred thousand overflow the stack.
    if (!(cause instanceof RangeError)) throw cause;
    const message = "The text has a word of more tokens than any model takes. Shorten it, or split it.";
    throw new EdgeT5Error("E_CONTEXT_LENGTH", message, { cause });
  }
}

async function readBlob(store: Store, hash: string): Promise<string> {
  const text = await readText(store, blobKey(hash));
  if (text === null) {
    throw new EdgeT5Error("E_BLOB_MISSING", `Blob ${hash} is not in ${store.description}. Push the package again.`);
  }
  return text;
}

/** An unfinished character: the bytes so far are not yet UTF-8. */
const UNFINISHED = "\uFFFD";

/**
 * Text of a growing sequence, piece by piece: the pieces joined are the text of the whole. A piece is what two readings
 * of a small window differ by, since a token's text depends on its neighbours (spaces, characters split over tokens).
 */
export class IncrementalDetokenizer {
  readonly #tokenizer: Tokenizer;
  #window: number[] = [];
  /** Text of the window that has been given out. */
  #given = "";
  /** How many of the window's first tokens that text comes from. */
  #read = 0;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** @returns the text that is now certain; empty while a character is unfinished */
  push(id: number): string {
    this.#window.push(id);
    const text = this.#tokenizer.decode(this.#window);
    if (text.length <= this.#given.length || text.endsWith(UNFINISHED)) return "";
    const piece = text.slice(this.#given.length);
    // The new window begins with the tokens just read, so that the next ones have their neighbour.
    this.#window = this.#window.slice(this.#read);
    this.#given = this.#tokenizer.decode(this.#window);
    this.#read = this.#window.length;
    return piece;
  }

  /** @returns what {@link push} held back, at the end of the sequence */
  finish(): string {
    const piece = this.#tokenizer.decode(this.#window).slice(this.#given.length);
    this.#window = [];
    this.#given = "";
    this.#read = 0;
    return piece;
  }
}
