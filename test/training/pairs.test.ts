/** Fine-tuning data, from files to examples. */
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, onTestFinished, test } from "vitest";
import { taskDefinitionSchema } from "../../src/tenancy/task-definition.ts";
import { type Pairs, type PairsOptions, preparePairs } from "../../src/training/data/index.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { readReference } from "../quality/reference.ts";
import { take, tokenizer, vocabSize } from "./tokenizer.ts";

const ROWS = readReference("translate-de").map(({ input, reference }) => ({
  source: input.replace("translate English to German: ", ""),
  target: reference,
}));
const TEMPLATE = "translate English to German: {input}";

type Files = Record<string, string | Uint8Array>;

async function pairs(files: Files, options: Partial<PairsOptions> = {}): Promise<Pairs> {
  const dir = await temporaryFolder();
  for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), content);
  const paths = Object.keys(files).map((name) => join(dir, name));
  const dataDir = join(dir, "tokens");
  const prepared = await preparePairs({
    files: paths,
    dir: dataDir,
    tokenizer,
    vocabSize,
    holdOut: 0,
    minRows: 1,
    ...options,
  });
  onTestFinished(() => prepared.close());
  return prepared;
}

const textsOf = async (prepared: Pairs, part: "train" | "held-out" = "train") => take(prepared.texts(part), 1e6);
const tsv = (rows = ROWS) => rows.map(({ source, target }) => `${source}\t${target}`).join("\n");
const jsonl = (rows: object[] = ROWS) => rows.map((row) => JSON.stringify(row)).join("\n");
const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
const csv = (rows = ROWS) =>
  ["source,target", ...rows.map(({ source, target }) => `${quoted(source)},${quoted(target)}`)].join("\r\n");

describe("rows", () => {
  const expected = ROWS.map(({ source, target }) => ({
    input: tokenizer.encode(`translate English to German: ${source}`),
    target: tokenizer.encode(target),
  }));

  test.each<[string, Files]>([
    ["TSV without a header", { "a.tsv": tsv() }],
    ["TSV with one, and Windows' line ends", { "a.tsv": `\uFEFFsource\ttarget\n${tsv()}\n`.replaceAll("\n", "\r\n") }],
    ["TSV with one in capitals", { "a.tsv": `Source\tTarget\n${tsv()}` }],
    ["gzipped TSV", { "a.tsv.gz": gzipSync(tsv()) }],
    ["CSV", { "a.csv": csv() }],
    ["gzipped CSV", { "a.csv.gz": gzipSync(csv()) }],
    ["JSON lines", { "a.jsonl": jsonl() }],
    [
      "gzipped JSON lines in two files",
      { "a.jsonl.gz": gzipSync(jsonl(ROWS.slice(0, 50))), "b.ndjson": jsonl(ROWS.slice(50)) },
    ],
  ])("from %s", async (_, files) => {
    const prepared = await pairs(files, { template: TEMPLATE });
    const examples = (await take(prepared.once("train").read(null), 1e6)).map(({ example }) => ({
      input: [...example.input],
      target: [...example.target],
    }));
    expect(examples).toEqual(expected);
    expect(await textsOf(prepared)).toEqual(
      ROWS.map(({ source, target }) => ({ input: `translate English to German: ${source}`, target })),
    );
  });

  test("a quoted cell of a CSV may hold commas, quotes and line ends; a TSV's quotes are text", async () => {
    const content = 'input,target\n"a, ""b""\nc",d\n\ne,f\n';
    expect(await textsOf(await pairs({ "a.csv": content }))).toEqual([
      { input: 'a, "b"\nc', target: "d" },
      { input: "e", target: "f" },
    ]);
    expect(await textsOf(await pairs({ "a.tsv": '"a\tb"\n' }))).toEqual([{ input: '"a', target: 'b"' }]);
  });

  test("columns are chosen by name or number, fields filled and cut, numbers taken as labels", async () => {
    const rows = jsonl([{ package: "x", description: "tool to list open files", kind: 3 }]);
    const format = {
      template: "classify {name}: {text}",
      columns: { name: "package", text: "description" },
      target: "kind",
      cut: { text: 13 },
    };
    expect(await textsOf(await pairs({ "a.jsonl": rows }, format))).toEqual([
      { input: "classify x: tool to list", target: "3" },
    ]);
    const numbered = await pairs({ "a.tsv": "x\ty\tz\n" }, { columns: { input: "3" }, target: "1" });
    expect(await textsOf(numbered)).toEqual([{ input: "z", target: "x" }]);
    const named = await pairs({ "a.csv": "y,x\n1,2\n" }, { columns: { input: "x" }, target: "y" });
    expect(await textsOf(named)).toEqual([{ input: "2", target: "1" }]);
    const fields = await pairs(
      { "a.csv": "label,context,question\nyes,c,q\n" },
      { template: "q: {question} c: {context}" },
    );
    expect(await textsOf(fields)).toEqual([{ input: "q: q c: c", target: "yes" }]);
  });

  test("OpenAI's rows for fine-tuning, of a chat or of prompt and completion", async () => {
    const chat = (...turns: [string, string][]) => ({ messages: turns.map(([role, content]) => ({ role, content })) });
    const rows = [chat(["system", "Be brief."], ["user", "Hi"], ["assistant", "Hello"])];
    const expected = [{ input: "Be brief.\nHi", target: "Hello" }];
    expect(await textsOf(await pairs({ "a.jsonl": jsonl(rows) }))).toEqual(expected);
    const plain = jsonl([{ prompt: "Be brief.\nHi", completion: "Hello" }]);
    expect(await textsOf(await pairs({ "a.jsonl": plain }))).toEqual(expected);
    const unanswered = jsonl([...rows, chat(["user", "Hi"], ["assistant", "Hello"], ["user", "And?"])]);
    await expect(pairs({ "a.jsonl": unanswered })).rejects.toMatchObject({
      code: "E_DATA_ROW",
      message: expect.stringContaining("a.jsonl:2: its messages"),
    });
  });

  test("a task's definition says how they are read", async () => {
    const task = taskDefinitionSchema.parse({
      model: "default",
      template: "sst2 sentence: {input}",
      labels: ["negative", "positive"],
    });
    const prepared = await pairs({ "a.tsv": "text\tlabel\nfine\tpositive\n" }, task);
    expect(await textsOf(prepared)).toEqual([{ input: "sst2 sentence: fine", target: "positive" }]);
    await expect(pairs({ "a.tsv": "text\tlabel\nfine\tgood\n" }, task)).rejects.toMatchObject({ code: "E_DATA_LABEL" });
  });
});

describe("examples", () => {
  test("come shuffled, each once an epoch, and from any position on as without a stop", async () => {
    const prepared = await pairs({ "a.tsv": tsv() });
    const inOrder = (await take(prepared.once("train").read(null), 1e6)).map(({ example }) => example);
    const whole = await take(prepared.train(5).read(null), 500);
    const epochs = [whole.slice(0, 200), whole.slice(200, 400)].map((epoch) => epoch.map(({ example }) => example));
    const key = ({ input, target }: { input: Int32Array; target: Int32Array }) => `${input} ${target}`;
    for (const epoch of epochs) {
      expect(epoch.map(key).sort()).toEqual(inOrder.map(key).sort());
      expect(epoch).not.toEqual(inOrder);
    }
    expect(epochs[0]).not.toEqual(epochs[1]);
    for (const stop of [1, 77, 200, 399]) {
      const position = JSON.parse(JSON.stringify(whole[stop - 1]?.position));
      expect(await take(prepared.train(5).read(position), 100)).toEqual(whole.slice(stop, stop + 100));
    }
    expect(await take(prepared.train(6).read(null), 5)).not.toEqual(whole.slice(0, 5));
  });

  test("a position in other data is refused", async () => {
    const position = (await take((await pairs({ "a.tsv": tsv() })).train(5).read(null), 1))[0]?.position;
    const other = await pairs({ "a.tsv": tsv(ROWS.slice(1)) });
    await expect(
      other
        .train(5)
        .read(position ?? null)
        .next(),
    ).rejects.toMatchObject({ code: "E_DATA_CHANGED" });
  });
});

describe("held-out rows", () => {
  test("are a share by the input's hash: whatever its order, a row is where it was, and so are its doubles", async () => {
    const rows = [...ROWS, ...ROWS.slice(0, 100).map(({ source }) => ({ source, target: "noch einmal" }))];
    const one = await pairs({ "a.tsv": tsv(rows) }, { holdOut: 0.2 });
    const heldOut = await textsOf(one, "held-out");
    const trained = await textsOf(one);
    expect([heldOut.length, trained.length]).toEqual([one.rows("held-out"), one.rows("train")]);
    expect(heldOut.length + trained.length).toBe(300);
    expect(heldOut.length).toBeGreaterThan(30);
    expect(heldOut.length).toBeLessThan(90);
    const inputs = new Set(heldOut.map(({ input }) => input));
    expect(trained.some(({ input }) => inputs.has(input))).toBe(false);
    const two = await pairs({ "a.tsv": tsv(rows.toReversed()) }, { holdOut: 0.2 });
    expect((await textsOf(two, "held-out")).toReversed()).toEqual(heldOut);
    const examples = await take(one.once("held-out").read(null), 1e6);
    expect(examples.map(({ example }) => [...example.input])).toEqual(
      heldOut.map(({ input }) => tokenizer.encode(input)),
    );
  });

  test("are one row at least", async () => {
    const prepared = await pairs({ "a.tsv": tsv(ROWS.slice(0, 10)) }, { holdOut: 1e-6 });
    expect([prepared.rows("train"), prepared.rows("held-out")]).toEqual([9, 1]);
    const [row] = await textsOf(prepared, "held-out");
    const [example] = await take(prepared.once("held-out").read(null), 2);
    expect([...(example?.example.input ?? [])]).toEqual(tokenizer.encode(row?.input ?? ""));
    expect(await textsOf(prepared)).toHaveLength(9);
  });
});

describe("lengths", () => {
  const long = `${"house ".repeat(300)}\tHaus\n`;

  test("are told, with how many tokens the vocabulary lacks", async () => {
    const { report } = await pairs({ "a.tsv": `The house is old.\tDas Haus ist alt.\nA\t漢字\n` });
    expect(report).toMatchObject({ rows: 2, truncated: 0, unknown: { inputs: 0, targets: 1 } });
    const lengths = ["The house is old.", "A"].map((text) => tokenizer.encode(text).length);
    expect(report.inputs).toMatchObject({ longest: lengths[0], median: lengths[1], total: lengths[0]! + lengths[1]! });
    expect(report.targets.histogram.reduce((sum, { count }) => sum + count, 0)).toBe(2);
  });

  test("over the limit are refused, with how many they are", async () => {
    const files = { "a.tsv": `a\tb\n${long.repeat(7)}` };
    await expect(pairs(files)).resolves.toBeDefined();
    await expect(pairs(files, { maxInputTokens: 128 })).rejects.toMatchObject({
      code: "E_DATA_LENGTH",
      message: expect.stringMatching(
        /a\.tsv:2: it has 301 tokens of input and 2 of target; .*; and 2 more\. The limits are 128 and 256/,
      ),
    });
  });

  test("are cut where that is asked for, their end kept", async () => {
    const prepared = await pairs({ "a.tsv": `a\tb\n${long}` }, { maxInputTokens: 128, truncate: true });
    expect(prepared.report).toMatchObject({ rows: 2, truncated: 1, inputs: { longest: 301 } });
    const [, cut] = await take(prepared.once("train").read(null), 2);
    expect([cut?.example.input.length, cut?.example.input.at(-1)]).toEqual([128, 1]);
  });
});

describe("what is broken names file, line and reason", () => {
  test.each<[string, Files, Partial<PairsOptions>, string, RegExp]>([
    [
      "a row that is not JSON",
      { "a.jsonl": '{"input":"a","target":"b"}\n{"input":' },
      {},
      "E_DATA_ROW",
      /a\.jsonl:2: it is not JSON/,
    ],
    [
      "a row that is a list",
      { "a.jsonl": '{"input":"a","target":"b"}\n[1]' },
      {},
      "E_DATA_ROW",
      /a\.jsonl:2: it is no JSON object/,
    ],
    [
      "a row without its target",
      { "a.jsonl": '{"input":"a","target":"b"}\n\n{"input":"a","target":{"x":1}}' },
      {},
      "E_DATA_ROW",
      /a\.jsonl:3: it has no text "target" \(it has: input\)/,
    ],
    [
      "a row of another width",
      { "a.tsv": "a\tb\nc\n" },
      {},
      "E_DATA_ROW",
      /a\.tsv:2: it has 1 column, the first row has 2/,
    ],
    [
      "a row of another width in a CSV",
      { "a.csv": 'input,target\n"a\nb",c\nd,e,f\n' },
      {},
      "E_DATA_ROW",
      /a\.csv:4: it has 3 columns/,
    ],
    [
      "a quote that never ends",
      { "a.csv": 'input,target\na,b\n"c,d\n' },
      {},
      "E_DATA_ROW",
      /a\.csv:\d+: its quotes are broken/,
    ],
    ["an empty target", { "a.tsv": "a\tb\nc\t \n" }, {}, "E_DATA_EMPTY", /a\.tsv:2: its target is empty/],
    [
      "an empty input",
      { "a.tsv": "a\tb\n\td\n" },
      { template: TEMPLATE },
      "E_DATA_EMPTY",
      /a\.tsv:2: its input is empty/,
    ],
    [
      "a label outside the set",
      { "a.tsv": "a\tyes\nb\tmaybe\n" },
      { labels: ["yes", "no"] },
      "E_DATA_LABEL",
      /a\.tsv:2: its target "maybe" is none of the labels/,
    ],
    [
      "Latin-1",
      { "a.tsv": Buffer.from("a\tb\ncaf\xe9\td\n", "latin1") },
      {},
      "E_DATA_ENCODING",
      /a\.tsv:2 is not UTF-8/,
    ],
    [
      "Latin-1 in a CSV",
      { "a.csv": Buffer.from("input,target\ncaf\xe9,d\n", "latin1") },
      {},
      "E_DATA_ENCODING",
      /a\.csv:2 is not UTF-8/,
    ],
    [
      "an unknown column",
      { "a.csv": "one,two\na,b\n" },
      { columns: { input: "three" }, target: "two" },
      "E_DATA_COLUMN",
      /no column "three" \(it has: one, two\)/,
    ],
    [
      "an unknown target",
      { "a.jsonl": '{"input":"a","answer":"b"}' },
      {},
      "E_DATA_COLUMN",
      /no column "target" \(it has: input, answer\)/,
    ],
    [
      "a field without a column",
      { "a.csv": "text,label\na,b\n" },
      { template: "{question} {context}" },
      "E_DATA_COLUMN",
      /no column "question"/,
    ],
    [
      "a column for no field",
      { "a.tsv": "a\tb\n" },
      { columns: { context: "1" } },
      "E_DATA_COLUMN",
      /no field context \(it has: input\)/,
    ],
    ["too few rows", { "a.tsv": "a\tb\n" }, { minRows: 8 }, "E_DATA_TOO_SMALL", /has 1 rows, 8 are needed/],
    ["no rows", { "a.tsv": "\n" }, {}, "E_DATA_TOO_SMALL", /has 0 rows/],
    ["a text file", { "a.txt": "a\tb\n" }, {}, "E_DATA_FILE", /a\.txt is no table/],
    [
      "a gzip that was cut off",
      { "a.csv.gz": gzipSync(csv()).subarray(0, 900) },
      {},
      "E_DATA_FILE",
      /not a whole gzip file/,
    ],
  ])("%s", async (_, files, options, code, message) => {
    await expect(pairs(files, options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("the first five are told, and how many more there are", async () => {
    const rows = Array.from({ length: 20 }, (_, i) => (i % 2 ? "a\tb" : "broken")).join("\n");
    const error = await pairs({ "a.tsv": `x\ty\n${rows}` }).catch((error) => error);
    const lines = [...error.message.matchAll(/a\.tsv:(\d+):/g)].map(([, line]) => Number(line));
    expect(lines).toEqual([2, 4, 6, 8, 10]);
    expect(error.message).toContain("and 5 more");
  });

  test("nothing is left behind that could be taken for prepared data", async () => {
    const dir = await temporaryFolder();
    const file = join(dir, "a.tsv");
    await writeFile(file, "a\tb\nc\n");
    const options = { files: [file], dir: join(dir, "tokens"), tokenizer, vocabSize, holdOut: 0, minRows: 1 };
    await expect(preparePairs(options)).rejects.toMatchObject({ code: "E_DATA_ROW" });
    await expect(preparePairs(options)).rejects.toMatchObject({ message: expect.stringContaining(basename(file)) });
  });
});
