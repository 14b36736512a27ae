/** The `tokenizer.json` of a T5, as transformers' T5Converter lays it out. */

/** The character that stands for a space. */
const SPACE = "▁";

export interface T5Vocabulary {
  /** By id. `<pad>`, `</s>` and `<unk>` are special. */
  pieces: readonly { piece: string; score: number }[];
  /** Which of the pieces are texts that are always one token, wherever they stand; a task's prefix is one. Default: none. */
  whole?: ReadonlySet<string> | undefined;
  /** Of `</s>`. */
  endId: number;
  unknownId: number;
  /** Sentinels that follow: `<extra_id_0>` is the last id, as T5 counts them. */
  sentinels: number;
  normalizer: object | null;
  byteFallback: boolean;
}

export function t5TokenizerJson({
  pieces,
  whole,
  endId,
  unknownId,
  sentinels: count,
  normalizer,
  byteFallback,
}: T5Vocabulary): object {
  const sentinels = Array.from({ length: count }, (_, i) => `<extra_id_${count - 1 - i}>`);
  const vocab = [...pieces.map(({ piece, score }) => [piece, score]), ...sentinels.map((piece) => [piece, 0])];
  const added = (id: number, content: string, special = true) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special,
  });
  const SPECIALS = ["<pad>", "</s>", "<unk>"];
  const first = pieces.flatMap(({ piece }, id) => {
    const isSpecial = SPECIALS.includes(piece);
    return isSpecial || whole?.has(piece) ? [added(id, piece, isSpecial)] : [];
  });
  const sequence = { Sequence: { id: "A", type_id: 0 } };
  const endToken = { SpecialToken: { id: "</s>", type_id: 0 } };
  const metaspace = { type: "Metaspace", replacement: SPACE, prepend_scheme: "always", split: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [...first, ...sentinels.map((content, i) => added(pieces.length + i, content))],
    normalizer,
    pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, metaspace] },
    post_processor: {
      type: "TemplateProcessing",
      single: [sequence, endToken],
      pair: [sequence, endToken, { Sequence: { id: "B", type_id: 0 } }, endToken],
      special_tokens: { "</s>": { id: "</s>", ids: [endId], tokens: ["</s>"] } },
    },
    decoder: metaspace,
    model: { type: "Unigram", unk_id: unknownId, vocab, byte_fallback: byteFallback },
  };
}
