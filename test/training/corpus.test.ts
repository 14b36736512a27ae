/** Pretraining data, from files to examples. */
import { appendFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { type Corpus, type CorpusOptions, PREFIX_LM, prepareCorpus, UL2 } from "../../src/training/data/index.ts";
import type { Example } from "../../src/training/example.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { readReference, TASKS } from "../quality/reference.ts";
import { take, tokenizer, vocabSize } from "./tokenizer.ts";

/** Real sentences: 1,600 documents of 1 to 100 words. */
const DOCUMENTS = TASKS.flatMap((task) => readReference(task).flatMap(({ input, reference }) => [input, reference]));

interface Given extends Partial<CorpusOptions> {
  name?: string;
  content?: string | Uint8Array;
}

async function corpus({
  name = "corpus.txt",
  content = DOCUMENTS.join("\n"),
  ...options
}: Given = {}): Promise<Corpus> {
  const dir = await temporaryFolder();
  const file = join(dir, name);
  await writeFile(file, content);
  return prepare({ files: [file], dir: join(dir, "tokens"), ...options });
}

async function prepare(options: Partial<CorpusOptions> & Pick<CorpusOptions, "files" | "dir">): Promise<Corpus> {
  const prepared = await prepareCorpus({ tokenizer, vocabSize, holdOut: 0, ...options });
  onTestFinished(() => prepared.close());
  return prepared;
}

/** A text's tokens, as the example has them. */
function textOf({ input, target }: Example): number[] {
  const first = vocabSize - 100;
  const spans = new Map<number, number[]>();
  for (const id of target.subarray(0, -1)) {
    if (id >= first) spans.set(id, []);
    else [...spans.values()].at(-1)?.push(id);
  }
  return [...input.subarray(0, -1)].flatMap((id) => spans.get(id) ?? [id]);
}

const idsOf = (text: string) => tokenizer.encode(text).slice(0, -1);

test("packs texts to length, across their ends, and loses none in an epoch", async () => {
  const source = (await corpus()).train({ inputLength: 128, seed: 1 });
  const all = DOCUMENTS.map(idsOf);
  const total = all.reduce((sum, ids) => sum + ids.length, 0);
  // 141 tokens of text fill an input of 128; the last one of the first epoch goes on into the second.
  const examples = await take(source.read(null), Math.ceil(total / 141));
  const lengths = new Set(examples.map(({ example }) => `${example.input.length} ${example.target.length}`));
  expect([...lengths]).toEqual(["128 29"]);
  const stream = examples.flatMap(({ example }) => textOf(example)).slice(0, total);
  const counts = (ids: number[]) => {
    const table = new Array<number>(vocabSize).fill(0);
    for (const id of ids) table[id] = (table[id] as number) + 1;
    return table;
  };
  expect(counts(stream)).toEqual(counts(all.flat()));
  expect(stream).not.toEqual(all.flat());
});

test.each([
  ["span corruption", undefined],
  ["prefix LM", PREFIX_LM],
  ["UL2's mixture", UL2],
])("%s: from any position on, the same examples as without a stop", async (_, denoisers) => {
  const prepared = await corpus();
  const source = prepared.train({ inputLength: 100, denoisers, seed: 7 });
  const whole = await take(source.read(null), 700);
  expect(whole.some(({ position }) => (position as { epoch: number }).epoch > 0)).toBe(true);
  for (const stop of [1, 13, 350, 599]) {
    const position = JSON.parse(JSON.stringify(whole[stop - 1]?.position));
    expect(await take(source.read(position), 100)).toEqual(whole.slice(stop, stop + 100));
  }
  const other = await take(prepared.train({ inputLength: 100, denoisers, seed: 8 }).read(null), 5);
  expect(other).not.toEqual(whole.slice(0, 5));
});

test("documents that are held out are measured once, and never trained on", async () => {
  const prepared = await corpus({ holdOut: 0.1 });
  const heldOut = await take(prepared.heldOut({ inputLength: 64, seed: 1 }).read(null), 1e6);
  expect(prepared.documents("held-out") / prepared.report.documents).toBeGreaterThan(0.06);
  expect(prepared.documents("held-out") / prepared.report.documents).toBeLessThan(0.14);
  const trained = await take(prepared.train({ inputLength: 64, seed: 1 }).read(null), 1000);
  const total = heldOut.reduce((sum, { example }) => sum + textOf(example).length, 0);
  const rest = trained
    .slice(
      0,
      trained.findIndex(({ position }) => (position as { epoch: number }).epoch > 0),
    )
    .reduce((sum, { example }) => sum + textOf(example).length, 0);
  expect(Math.abs(total + rest - prepared.report.lengths.total)).toBeLessThan(150);
});

test("text, JSON lines and gzip are the same documents; JSON lines may name their fields", async () => {
  const texts = DOCUMENTS.filter((text) => text.trim() !== "").slice(0, 200);
  const json = texts.map((text) => JSON.stringify({ text, id: "left out" })).join("\r\n");
  const examples = async (given: Given) =>
    (await take((await corpus(given)).train({ seed: 1 }).read(null), 20)).map(({ example }) => example);
  const expected = await examples({ content: texts.join("\n") });
  expect(await examples({ name: "a.txt.gz", content: gzipSync(texts.join("\n")) })).toEqual(expected);
  expect(await examples({ name: "a.jsonl", content: json, fields: ["text"] })).toEqual(expected);
  expect(await examples({ name: "a.jsonl.gz", content: gzipSync(json), fields: ["text"] })).toEqual(expected);
  expect(await examples({ name: "a.jsonl", content: json })).not.toEqual(expected);
});

test("counts documents, lengths and unknown tokens", async () => {
  const { report } = await corpus({ content: `${"The house is old. ".repeat(400)}\n\n漢字\n` });
  const [longest, median] = ["The house is old. ".repeat(400), "漢字"].map((text) => tokenizer.encode(text).length - 1);
  expect(report).toMatchObject({ documents: 2, unknown: 1, lengths: { longest, median } });
  expect(report.lengths.total).toBe(longest! + median!);
  expect(report.lengths.histogram.reduce((sum, { count }) => sum + count, 0)).toBe(2);
  expect(report.lengths.histogram.at(-1)).toEqual({ upTo: 2048, count: 1 });
});

test("what was prepared is used again; other files, options or tokenizers are prepared anew", async () => {
  const dir = await temporaryFolder();
  const file = join(dir, "corpus.txt");
  await writeFile(file, DOCUMENTS.join("\n"));
  const options = { files: [file], dir: join(dir, "tokens") };
  const [before] = await take((await prepare(options)).train({ seed: 1 }).read(null), 1);
  // Read again, this would be refused.
  let read = 0;
  const again = await prepare({ ...options, onProgress: () => read++ });
  expect(await take(again.train({ seed: 1 }).read(null), 1)).toEqual([before]);
  expect(read).toBe(0);
  await appendFile(file, "\nOne more.");
  const changed = await prepare(options);
  expect(changed.documents("train")).toBe(again.documents("train") + 1);
  const resumed = changed.train({ seed: 1 }).read(before?.position ?? null);
  await expect(resumed.next()).rejects.toMatchObject({ code: "E_DATA_CHANGED" });
  const nonsense = changed.train({ seed: 1 }).read({ row: 5 });
  await expect(nonsense.next()).rejects.toMatchObject({ code: "E_DATA_CHANGED" });
});

test("a folder that was not finished is prepared anew", async () => {
  const dir = await temporaryFolder();
  const file = join(dir, "corpus.txt");
  await writeFile(file, DOCUMENTS.join("\n"));
  const options = { files: [file], dir: join(dir, "tokens") };
  const [expected] = await take((await prepare(options)).train({ seed: 1 }).read(null), 1);
  await rm(join(options.dir, "data.json"));
  await writeFile(join(options.dir, "tokens.bin"), "half");
  expect(await take((await prepare(options)).train({ seed: 1 }).read(null), 1)).toEqual([expected]);
  expect(JSON.parse(await readFile(join(options.dir, "data.json"), "utf8"))).toMatchObject({ format: 1 });
});

test.each<[string, Given, string, RegExp]>([
  ["too small", { content: "One line." }, "E_DATA_TOO_SMALL", /has 3 tokens in 1 documents/],
  [
    "not UTF-8",
    { content: Buffer.from("one\ntwo\ncaf\xe9\n", "latin1") },
    "E_DATA_ENCODING",
    /corpus\.txt:3 is not UTF-8/,
  ],
  ["not JSON", { name: "a.jsonl", content: '{"text":"a"}\n{"text":' }, "E_DATA_ROW", /a\.jsonl:2 is not JSON/],
  [
    "without its field",
    { name: "a.jsonl", content: '{"text":"a"}\n{"body":"b"}', fields: ["text"] },
    "E_DATA_COLUMN",
    /a\.jsonl:2 has no text "text" \(it has: body\)/,
  ],
  ["no gzip", { name: "a.txt.gz", content: "text" }, "E_DATA_FILE", /a\.txt\.gz is not a whole gzip file/],
  [
    "a gzip that was cut off",
    { name: "a.txt.gz", content: gzipSync(DOCUMENTS.join("\n")).subarray(0, 5000) },
    "E_DATA_FILE",
    /not a whole gzip file/,
  ],
  ["one endless line", { content: "x".repeat(2 ** 24 + 1) }, "E_DATA_FILE", /corpus\.txt:1 is longer than 16 MB/],
])("a corpus that is %s is refused, with file, line and reason", async (_, given, code, message) => {
  await expect(corpus(given)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
});

test("a missing file is the system's error", async () => {
  const dir = await temporaryFolder();
  await expect(prepare({ files: [join(dir, "none.txt")], dir })).rejects.toMatchObject({
    code: "E_DATA_FILE",
    message: expect.stringContaining("none.txt"),
  });
});
