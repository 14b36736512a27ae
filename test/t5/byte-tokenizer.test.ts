import fc from "fast-check";
import { expect, test } from "vitest";
import { byteTokenizer } from "../../src/t5/byte-tokenizer.ts";
import { IncrementalDetokenizer } from "../../src/t5/tokenizer.ts";

const tokenizer = byteTokenizer(125);

test("numbers bytes and sentinels as transformers' ByT5Tokenizer does", () => {
  expect(tokenizer.encode("Hé")).toEqual([75, 198, 172, 1]);
  expect(tokenizer.encode("a<extra_id_0> b<extra_id_124>")).toEqual([100, 259, 35, 101, 383, 1]);
  expect(tokenizer.encode("a</s>")).toEqual([100, 1]);
  expect(tokenizer.encode("")).toEqual([1]);
  // No such sentinel: plain text.
  expect(tokenizer.encode("<extra_id_125>")).toHaveLength("<extra_id_125>".length + 1);
  expect(tokenizer.nameOf(75)).toBe("H");
  expect(tokenizer.nameOf(198)).toBe("<0xC3>");
  expect(tokenizer.nameOf(259)).toBe("<extra_id_0>");
});

test("any text comes back, whole and byte by byte", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      const ids = tokenizer.encode(text);
      expect(tokenizer.decode(ids)).toBe(text);
      const detokenizer = new IncrementalDetokenizer(tokenizer);
      expect(ids.map((id) => detokenizer.push(id)).join("") + detokenizer.finish()).toBe(text);
    }),
  );
});
