/** Our Unigram model, held to @huggingface/tokenizers' own on the same `tokenizer.json`. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tokenizerFromSentencePiece } from "../../model-split/sentencepiece.ts";
import { createTokenizer } from "../../src/t5/unigram.ts";
import { readReference, TASKS } from "../quality/reference.ts";

const SPIECE = fileURLToPath(new URL("../fixtures/t5-tokenizer/spiece.model", import.meta.url));
const json = tokenizerFromSentencePiece(readFileSync(SPIECE), 100, SPIECE);
const ours = createTokenizer(json, {});
const theirs = new Tokenizer(json, {});

describe("a Unigram tokenizer", () => {
  test("encodes real texts alike", () => {
    for (const task of TASKS) {
      for (const { input, reference } of readReference(task)) {
        for (const text of [input, reference]) expect(ours.encode(text)).toEqual(theirs.encode(text));
      }
    }
  });

  test("encodes any text alike: unknown characters, sentinels, words that no piece ends", () => {
    const part = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 8 }),
      fc.string({ unit: "binary", maxLength: 4 }),
      fc.constantFrom("▁", " ", "  ", "<unk>", "</s>", "<extra_id_7>", "🙂", "日本", "Ä", "ization", "\ud83d"),
      fc.integer({ min: 3, max: 32_127 }).map((id) => theirs.id_to_token(id) ?? ""),
    );
    const text = fc.array(part, { maxLength: 12 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(text, (text) => {
        expect(ours.encode(text)).toEqual(theirs.encode(text));
      }),
      { numRuns: 2000 },
    );
  });

  test("knows every token by its id and by its name, and decodes alike", () => {
    const ids = Array.from({ length: 32_128 }, (_, id) => id);
    expect(ids.map((id) => ours.id_to_token(id))).toEqual(ids.map((id) => theirs.id_to_token(id)));
    expect(ours.get_vocab()).toEqual(theirs.get_vocab());
    expect(ours.decode(ids.slice(0, 5000))).toBe(theirs.decode(ids.slice(0, 5000)));
  });
});

test("a tokenizer of another kind is left to them", () => {
  const wordPiece = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: null,
    model: { type: "WordPiece", unk_token: "?", continuing_subword_prefix: "##", vocab: { "?": 0, ab: 1, "##c": 2 } },
  };
  expect(createTokenizer(wordPiece, {}).encode("abc x").ids).toEqual([1, 2, 0]);
});
