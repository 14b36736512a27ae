/** A vocabulary cut down to a corpus: tokenizer and weights together, and nothing else about the model changes. */
import { copyFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import { renumberGeneration } from "../../model-split/trim-vocabulary.ts";
import { DEFAULT_PACKAGE, T5 } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { blobKey, type Manifest, readManifest } from "../../src/t5/manifest.ts";
import { T5_SMALL, writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { lastingFolder, temporaryFolder } from "./checkpoints.ts";

const CORPUS = ["translate English to German: The house is old.", "Das Haus ist alt. Ein Vogel, zwei Vögel!"];

let checkpoint: string;
let whole: string;

/** Random weights under the packaged model's tokenizer. */
beforeAll(async () => {
  const { model, tokenizer } = await readManifest(new FolderStore(DEFAULT_PACKAGE));
  checkpoint = await lastingFolder();
  const small = { d_model: 32, d_kv: 8, d_ff: 48, num_heads: 4, num_layers: 1 };
  await writeRandomCheckpoint(checkpoint, { ...T5_SMALL, ...small, vocab_size: model.vocabSize });
  if (!tokenizer || !("json" in tokenizer)) throw new Error("no tokenizer.json");
  copyFileSync(join(DEFAULT_PACKAGE, blobKey(tokenizer.json)), join(checkpoint, "tokenizer.json"));
  copyFileSync(join(DEFAULT_PACKAGE, blobKey(tokenizer.config ?? "")), join(checkpoint, "tokenizer_config.json"));
  await writeFile(
    join(checkpoint, "generation_config.json"),
    JSON.stringify({ num_beams: 2, decoder_start_token_id: 0 }),
  );
  whole = await lastingFolder();
  await splitCheckpoint(checkpoint, whole, { bits: 32 });
});

async function trimmed(name: string, content: string | Uint8Array): Promise<{ out: string; manifest: Manifest }> {
  const corpus = join(await temporaryFolder(), name);
  await writeFile(corpus, content);
  const out = await temporaryFolder();
  const { manifest } = await splitCheckpoint(checkpoint, out, { bits: 32, trimVocab: corpus });
  return { out, manifest };
}

describe("--trim-vocab", () => {
  test("keeps what the corpus uses, and the model's scores of it", async () => {
    const { out, manifest } = await trimmed("corpus.txt", CORPUS.join("\n"));
    const { model, trimmedFrom } = manifest;
    expect(trimmedFrom).toBe(8064);
    expect(model.vocabSize).toBeLessThan(1500);
    const [small, large] = [await T5.fromPretrained(out), await T5.fromPretrained(whole)];
    for (const text of CORPUS) {
      const [ids, wholeIds] = [small.tokenizer.encode(text), large.tokenizer.encode(text)];
      expect(ids.map((id) => small.tokenizer.nameOf(id))).toEqual(wholeIds.map((id) => large.tokenizer.nameOf(id)));
      expect(small.tokenizer.decode(ids)).toBe(large.tokenizer.decode(wholeIds));
      expect(await small.encoder.encode(ids)).toEqual(await large.encoder.encode(wholeIds));
      const hidden = await small.encoder.encode(ids);
      const [a, b] = [await small.decoder.open(hidden, 4), await large.decoder.open(hidden, 4)];
      const scores = (await small.decoder.step([a], [0])).logits(0);
      const wholeScores = (await large.decoder.step([b], [0])).logits(0);
      for (const [i, id] of ids.entries()) {
        expect(scores[id]).toBe(wholeScores[wholeIds[i] as number]);
      }
    }
  });

  test("any text can still be encoded, character by character; specials and sentinels stay", async () => {
    const { out } = await trimmed("corpus.txt", CORPUS.join("\n"));
    const [small, large] = [await T5.fromPretrained(out), await T5.fromPretrained(whole)];
    const text = "Completely different words, quickly zigzagging.";
    expect(small.tokenizer.decode(small.tokenizer.encode(text))).toBe(text);
    const sentinel = small.tokenizer.encode("<extra_id_0>")[0] as number;
    expect(small.tokenizer.nameOf(sentinel)).toBe("<extra_id_0>");
    expect(small.tokenizer.encode("")).toEqual(large.tokenizer.encode(""));
  });

  test("reads columns, strings of JSON lines, and gzip alike", async () => {
    const plain = await trimmed("corpus.txt", CORPUS.join("\n"));
    const columns = await trimmed("corpus.tsv.gz", gzipSync(CORPUS.join("\t")));
    const json = await trimmed("corpus.jsonl", JSON.stringify({ pair: { input: CORPUS[0], target: [CORPUS[1]] } }));
    for (const { manifest } of [columns, json]) expect(manifest.blobs).toEqual(plain.manifest.blobs);
  });

  test.each([
    ["empty", "corpus.txt", " \n\n", "E_INPUT"],
    ["no gzip", "corpus.txt.gz", "text", "E_DATA_FILE"],
    ["not JSON", "corpus.jsonl", '{"a": 1}\nnope', "E_DATA_ROW"],
  ])("a corpus that is %s: a clear error, and no package", async (_, name, content, code) => {
    await expect(trimmed(name, content)).rejects.toMatchObject({ code });
  });

  test("a checkpoint without pieces is refused", async () => {
    const dir = await temporaryFolder();
    await writeRandomCheckpoint(dir, { ...T5_SMALL, vocab_size: 384, d_model: 16, d_ff: 16, num_layers: 1 });
    const corpus = join(dir, "corpus.txt");
    await writeFile(corpus, "text");
    const splitting = splitCheckpoint(dir, await temporaryFolder(), { trimVocab: corpus });
    await expect(splitting).rejects.toMatchObject({ code: "E_TOKENIZER" });
  });
});

test("a generation_config.json is renumbered; what is gone is left out", () => {
  const places = new Map([
    [0, 0],
    [1, 1],
    [50, 2],
  ]);
  const config = {
    eos_token_id: 1,
    forced_bos_token_id: 60,
    suppress_tokens: [50, 60],
    bad_words_ids: [[1, 50], [60]],
    max_new_tokens: 50,
    num_beams: 4,
  };
  expect(renumberGeneration(config, places)).toEqual({
    eos_token_id: 1,
    suppress_tokens: [2],
    bad_words_ids: [[1, 2]],
    max_new_tokens: 50,
    num_beams: 4,
  });
});
