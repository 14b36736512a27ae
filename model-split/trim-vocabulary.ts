/** Cuts a Unigram vocabulary down to the pieces that a corpus uses, and its tokenizer with it. */
import * as z from "zod";
import { EdgeT5Error } from "../src/errors.ts";
import { createTokenizer } from "../src/t5/unigram.ts";

/** The parts of a `tokenizer.json` that hold ids. */
const tokenizerSchema = z.looseObject({
  added_tokens: z.array(z.looseObject({ id: z.int(), content: z.string() })),
  post_processor: z
    .looseObject({ special_tokens: z.record(z.string(), z.looseObject({ ids: z.array(z.int()) })).optional() })
    .nullish(),
  model: z.looseObject({
    type: z.literal("Unigram"),
    unk_id: z.int().nullish(),
    vocab: z.array(z.tuple([z.string(), z.number()])),
  }),
});

type TokenizerJson = z.infer<typeof tokenizerSchema>;

export interface TrimmedVocabulary {
  /** New id of each id that is kept; in ascending order. */
  places: Map<number, number>;
  /** Bytes of the new `tokenizer.json`. */
  json: Uint8Array;
}

/**
 * Keeps the pieces that the texts are encoded to, specials and sentinels, single characters (so that any text that could
 * be encoded still can), and the least probable piece, which the cost of an unknown character goes by. A text whose
 * pieces are all kept is encoded as before: scores do not change.
 *
 * @param bytes of `tokenizer.json`
 * @param vocabSize rows of the embedding: an id beyond it is no piece of the model
 * @param always ids to keep besides
 * @throws EdgeT5Error `E_TOKENIZER` for a tokenizer that is not Unigram, `E_INPUT` for a corpus without a text
 */
export async function trimVocabulary(
  bytes: Uint8Array,
  vocabSize: number,
  always: readonly number[],
  texts: AsyncIterable<string>,
): Promise<TrimmedVocabulary> {
  const parsed = tokenizerSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
  if (!parsed.success) {
    throw new EdgeT5Error(
      "E_TOKENIZER",
      "Only the vocabulary of a Unigram tokenizer.json can be trimmed. Leave --trim-vocab out.",
    );
  }
  const json = parsed.data;
  const { vocab } = json.model;
  const used = new Set([...always, ...(await idsOf(json, texts))]);
  for (const { id } of json.added_tokens) used.add(id);
  if (json.model.unk_id != null) used.add(json.model.unk_id);
  let least = 0;
  for (const [id, [piece, score]] of vocab.entries()) {
    if ([...piece].length === 1) used.add(id);
    if (score < (vocab[least]?.[1] ?? 0)) least = id;
  }
  used.add(least);
  const kept = [...used].filter((id) => id < vocabSize).sort((a, b) => a - b);
  const places = new Map(kept.map((id, place) => [id, place]));
  return { places, json: new TextEncoder().encode(JSON.stringify(renumber(json, places))) };
}

async function idsOf(json: TokenizerJson, texts: AsyncIterable<string>): Promise<Set<number>> {
  const tokenizer = createTokenizer(json, {});
  const ids = new Set<number>();
  let isEmpty = true;
  for await (const text of texts) {
    if (text.trim() === "") continue;
    isEmpty = false;
    for (const id of tokenizer.encode(text).ids) ids.add(id);
  }
  if (isEmpty)
    throw new EdgeT5Error(
      "E_INPUT",
      "The corpus has no text. Give one that is like what the model will read and write.",
    );
  return ids;
}

function renumber(json: TokenizerJson, places: ReadonlyMap<number, number>): TokenizerJson {
  const place = (id: number) => places.get(id) ?? 0;
  const { vocab, unk_id } = json.model;
  const specials = json.post_processor?.special_tokens;
  return {
    ...json,
    added_tokens: json.added_tokens
      .filter(({ id }) => places.has(id))
      .map((token) => ({ ...token, id: place(token.id) })),
    post_processor: json.post_processor && {
      ...json.post_processor,
      ...(specials && {
        special_tokens: Object.fromEntries(
          Object.entries(specials).map(([name, token]) => [name, { ...token, ids: token.ids.map(place) }]),
        ),
      }),
    },
    model: {
      ...json.model,
      ...(unk_id != null && { unk_id: place(unk_id) }),
      vocab: vocab.filter((_, id) => places.has(id)),
    },
  };
}

/**
 * A `generation_config.json` with its token ids renumbered; what names a piece that is gone is left out.
 *
 * @param places new id of each id that is kept
 */
export function renumberGeneration(
  generation: Readonly<Record<string, unknown>>,
  places: ReadonlyMap<number, number>,
): Record<string, unknown> {
  const entries = Object.entries(generation).map(([name, value]): [string, unknown] => {
    if (!/_ids?$|_tokens$/.test(name) || /^(max|min)_/.test(name)) return [name, value];
    return [name, renumberIds(value, places)];
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** An id, a list of ids (those that are gone are left out), or a list of words (one with an id that is gone is left out). */
function renumberIds(value: unknown, places: ReadonlyMap<number, number>): unknown {
  if (typeof value === "number") return places.get(value);
  if (!Array.isArray(value)) return value;
  return value
    .map((each) => {
      if (!Array.isArray(each)) return renumberIds(each, places);
      const word = each.map((id) => renumberIds(id, places));
      return word.includes(undefined) ? undefined : word;
    })
    .filter((each) => each !== undefined);
}

/** A `tokenizer_config.json` with the ids of its `added_tokens_decoder` renumbered. */
export function renumberSettings(bytes: Uint8Array, places: ReadonlyMap<number, number>): Uint8Array {
  const settings = JSON.parse(new TextDecoder().decode(bytes)) as { added_tokens_decoder?: Record<string, unknown> };
  if (settings.added_tokens_decoder) {
    const entries = Object.entries(settings.added_tokens_decoder).flatMap(([id, token]) => {
      const place = places.get(Number(id));
      return place === undefined ? [] : [[place, token]];
    });
    settings.added_tokens_decoder = Object.fromEntries(entries);
  }
  return new TextEncoder().encode(JSON.stringify(settings));
}
