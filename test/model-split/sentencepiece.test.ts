/** `spiece.model` alone, held to what `tokenizer.json` of google-t5/t5-small encodes (test/fixtures/t5-tokenizer). */
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import { tokenizerFromSentencePiece } from "../../model-split/sentencepiece.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { loadTokenizer } from "../../src/t5/tokenizer.ts";
import { createTokenizer } from "../../src/t5/unigram.ts";
import { writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { temporaryFolder } from "./checkpoints.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/t5-tokenizer/", import.meta.url));
const SPIECE = join(FIXTURES, "spiece.model");
const encodings: { text: string; ids: number[] }[] = JSON.parse(readFileSync(join(FIXTURES, "encodings.json"), "utf8"));

describe("a directory with only spiece.model", () => {
  test("encodes as tokenizer.json does", () => {
    const tokenizer = createTokenizer(tokenizerFromSentencePiece(readFileSync(SPIECE), 100, SPIECE), {});
    expect(encodings.length).toBeGreaterThan(80);
    for (const { text, ids } of encodings) expect({ text, ids: tokenizer.encode(text).ids }).toEqual({ text, ids });
  });

  test("is split into a package that takes text", async () => {
    const dir = await temporaryFolder();
    await writeRandomCheckpoint(dir, {
      model_type: "t5",
      vocab_size: 32_128,
      d_model: 8,
      d_kv: 4,
      d_ff: 8,
      num_heads: 2,
      num_layers: 1,
    });
    copyFileSync(SPIECE, join(dir, "spiece.model"));
    const out = await temporaryFolder();
    const { manifest } = await splitCheckpoint(dir, out);
    const tokenizer = await loadTokenizer(manifest, new FolderStore(out));
    const { text, ids } = encodings.at(-1) ?? { text: "", ids: [] };
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(tokenizer.encode("Das ist gut."))).toBe("Das ist gut.");
  });

  test("mT5 has no sentinels beyond its pieces", () => {
    const json = tokenizerFromSentencePiece(readFileSync(SPIECE), 0, SPIECE) as { model: { vocab: unknown[] } };
    expect(json.model.vocab).toHaveLength(32_000);
  });

  test.each([
    ["nothing", new Uint8Array()],
    ["something else", new TextEncoder().encode('{"version":"1.0"}')],
    ["a model that is cut off", new Uint8Array(readFileSync(SPIECE)).subarray(0, 1000)],
  ])("%s: E_TOKENIZER, naming the file", (_, bytes) => {
    expect(() => tokenizerFromSentencePiece(bytes, 100, "some/spiece.model")).toThrow(
      expect.objectContaining({ code: "E_TOKENIZER", message: expect.stringContaining("some/spiece.model") }),
    );
  });
});
