import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { IncrementalDetokenizer, loadTokenizer, type Tokenizer } from "../../src/t5/tokenizer.ts";
import { readReference, TASKS } from "../quality/reference.ts";

let tokenizer: Tokenizer;
let vocabSize: number;
beforeAll(async () => {
  const store = new FolderStore(DEFAULT_PACKAGE);
  const manifest = await readManifest(store);
  vocabSize = manifest.model.vocabSize;
  tokenizer = await loadTokenizer(manifest, store);
});

function pieces(ids: readonly number[]): string[] {
  const detokenizer = new IncrementalDetokenizer(tokenizer);
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.finish()];
}

describe("the incremental detokenizer", () => {
  test("gives the text of the whole, in pieces, for real texts", () => {
    for (const task of TASKS) {
      for (const { greedy, reference } of readReference(task)) {
        for (const text of [greedy, reference]) {
          const ids = tokenizer.encode(text);
          expect(pieces(ids).join("")).toBe(tokenizer.decode(ids));
        }
      }
    }
  });

  test("gives the text of the whole for any ids, special tokens and repetitions included", () => {
    const id = fc.oneof(fc.integer({ min: 0, max: vocabSize - 1 }), fc.integer({ min: 0, max: 12 }));
    fc.assert(
      fc.property(fc.array(id, { maxLength: 40 }), (ids) => {
        expect(pieces(ids).join("")).toBe(tokenizer.decode(ids));
      }),
      { numRuns: 500 },
    );
  });

  test("gives each word as soon as its tokens are there", () => {
    const ids = tokenizer.encode("Das Haus ist alt.");
    expect(pieces(ids).slice(0, 4)).toEqual(["Das", " Haus", " ist", " alt"]);
  });

  test("holds an unfinished character back", () => {
    // Two tokens that are one character together, as in byte-level vocabularies.
    const bytes: Tokenizer = {
      encode: () => [],
      decode: (ids) => new TextDecoder().decode(Uint8Array.from(ids)),
      nameOf: String,
    };
    const detokenizer = new IncrementalDetokenizer(bytes);
    expect([0x61, 0xc3, 0xa4, 0x62].map((byte) => detokenizer.push(byte))).toEqual(["a", "", "ä", "b"]);
    expect(detokenizer.finish()).toBe("");
    detokenizer.push(0xc3);
    expect(detokenizer.finish()).toBe("\uFFFD");
  });
});

test("a single word of any length has an answer", () => {
  expect(tokenizer.encode("a".repeat(20_000)).length).toBeGreaterThan(1000);
  expect(tokenizer.encode("\u0301".repeat(500_000)).length).toBeGreaterThan(1);
});
