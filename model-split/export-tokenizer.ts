/** The tokenizer files that transformers.js loads, from a package's tokenizer. */
import * as z from "zod";
import { EdgeT5Error } from "../src/errors.ts";
import { readText, type Store } from "../src/store/store.ts";
import { blobKey, type Manifest } from "../src/t5/manifest.ts";

/** Their text. */
export interface TokenizerFiles {
  "tokenizer.json": string;
  "tokenizer_config.json": string;
}

const definitionSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.number(), content: z.string() })).default([]),
});
const settingsSchema = z.looseObject({ tokenizer_class: z.string().optional() });

const SPECIALS = ["<pad>", "</s>", "<unk>"];

/** @throws EdgeT5Error `E_BLOB_MISSING`, `E_TOKENIZER` */
export async function tokenizerFiles(manifest: Manifest, store: Store): Promise<TokenizerFiles | null> {
  if (!manifest.tokenizer) return null;
  if ("sentinels" in manifest.tokenizer) return byteTokenizerFiles(manifest.tokenizer.sentinels);
  const { json, config } = manifest.tokenizer;
  const text = await readBlob(json, manifest, store);
  const definition = parse(definitionSchema, text, manifest);
  const settings = config === null ? {} : parse(settingsSchema, await readBlob(config, manifest, store), manifest);
  const { padTokenId, eosTokenId } = manifest.model;
  const named = (role: string, id: number) => {
    const content = definition.added_tokens.find((token) => token.id === id)?.content;
    return content === undefined ? {} : { [role]: content };
  };
  return {
    "tokenizer.json": text,
    "tokenizer_config.json": indented({
      ...named("pad_token", padTokenId),
      ...named("eos_token", eosTokenId),
      ...settings,
      // transformers.js has T5's class for all of the family (mT5's would be unknown to it, and warned about).
      tokenizer_class: "T5Tokenizer",
      // As transformers' fast tokenizer and the kit decode, whatever the setting says, which is for the slow one.
      clean_up_tokenization_spaces: false,
    }),
  };
}

/**
 * ByT5's bytes as a vocabulary of pieces, for it has no `tokenizer.json` of its own and transformers.js no class for it: a
 * byte-pair encoder without a single pair falls back to bytes for every character.
 */
function byteTokenizerFiles(sentinels: number): TokenizerFiles {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const pieces = [...SPECIALS, ...bytes];
  const extra = Array.from({ length: sentinels }, (_, i) => `<extra_id_${i}>`);
  const special = (content: string, id: number) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const [pad, eos, unk] = SPECIALS;
  return {
    "tokenizer.json": JSON.stringify({
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [
        ...SPECIALS.map((content, id) => special(content, id)),
        ...extra.map((content, i) => special(content, pieces.length + i)),
      ],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: {
        type: "TemplateProcessing",
        single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: eos, type_id: 0 } }],
        pair: [
          { Sequence: { id: "A", type_id: 0 } },
          { SpecialToken: { id: eos, type_id: 0 } },
          { Sequence: { id: "B", type_id: 0 } },
          { SpecialToken: { id: eos, type_id: 0 } },
        ],
        special_tokens: { [String(eos)]: { id: eos, ids: [SPECIALS.indexOf(String(eos))], tokens: [eos] } },
      },
      decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: unk,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: true,
        vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
        merges: [],
      },
    }),
    "tokenizer_config.json": indented({
      tokenizer_class: "PreTrainedTokenizerFast",
      pad_token: pad,
      eos_token: eos,
      unk_token: unk,
      clean_up_tokenization_spaces: false,
    }),
  };
}

function indented(json: object): string {
  return `${JSON.stringify(json, null, 2)}\n`;
}

async function readBlob(hash: string, { name }: Manifest, store: Store): Promise<string> {
  const text = await readText(store, blobKey(hash));
  if (text === null) throw missingBlob(hash, name, store);
  return text;
}

export function missingBlob(hash: string, name: string, store: Store): EdgeT5Error {
  return new EdgeT5Error(
    "E_BLOB_MISSING",
    `Blob ${hash} of package ${name} is not in ${store.description}. Re-run edge-t5 split, or copy it again.`,
  );
}

function parse<T>(schema: z.ZodType<T>, text: string, { name }: Manifest): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new EdgeT5Error(
      "E_TOKENIZER",
      `The tokenizer of package ${name} cannot be read. Re-run edge-t5 split with a Hugging Face tokenizer.json.`,
      { cause },
    );
  }
}
