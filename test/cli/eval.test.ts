/** `edge-t5 eval`: a package's answers to rows of a file, by every metric that the command line names. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { METRIC_NAMES, measure } from "../../src/evaluation/metrics.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { edgeT5 } from "./process.ts";

const REFERENCE = fileURLToPath(new URL("../fixtures/reference/", import.meta.url));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), name);
  await writeFile(path, content);
  return path;
}

async function json(...args: string[]) {
  const { code, stdout, stderr } = await edgeT5(["eval", DEFAULT_PACKAGE, "--json", ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as { rows: number; scores: Record<string, number>; completion_tokens: number };
}

const TSV = "The house is old.\tDas Haus ist alt.\nI am hungry.\tIch habe Durst.\n";
const GERMAN = ["--prefix", "translate English to German: "];

describe("edge-t5 eval", () => {
  test("measures rows of a TSV, gzipped or not, and shows a table", async () => {
    const data = await file("test.tsv", TSV);
    const { code, stdout, stderr } = await edgeT5(["eval", DEFAULT_PACKAGE, "--data", data, ...GERMAN]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "100 % (2 of 2)\n" });
    expect(stdout).toMatch(/^METRIC {2}SCORE\nBLEU +\d+\.\d\d\n\n2 rows in /);
    const zipped = await file("test.tsv.gz", gzipSync(TSV));
    const scores = [await json("--data", data, ...GERMAN), await json("--data", zipped, ...GERMAN)];
    expect(scores[0]?.scores).toEqual(scores[1]?.scores);
  });

  test("has every metric, and writes the answers that it measured", async () => {
    const rows = (await readFile(join(REFERENCE, "translate-de.jsonl"), "utf8")).split("\n").slice(0, 20).join("\n");
    const data = await file("rows.jsonl", rows);
    const out = join(await temporaryFolder(), "answers.jsonl");
    const { scores } = await json("--data", data, "--metric", METRIC_NAMES.join(), "--out", out, "--max-tokens", "64");
    const answers = (await readFile(out, "utf8")).trim().split("\n");
    const parsed = answers.map((line) => JSON.parse(line) as { reference: string; answer: string });
    expect(parsed).toHaveLength(20);
    const texts = parsed.map(({ answer }) => answer);
    const references = parsed.map(({ reference }) => reference);
    expect(scores).toEqual(measure(METRIC_NAMES, texts, references));
  });

  test("answers in batches as it does one by one", async () => {
    const rows = ["--data", join(REFERENCE, "translate-fr.jsonl"), "--limit", "30"];
    const [one, many] = [await json(...rows, "--batch", "1"), await json(...rows)];
    expect(one.rows).toBe(30);
    expect([one.scores, one.completion_tokens]).toEqual([many.scores, many.completion_tokens]);
  });

  test("chooses among labels", async () => {
    const data = await file("labels.jsonl", '{"q":"classify package: a library for sockets","a":"libs"}\n');
    const fields = ["--input-field", "q", "--reference-field", "a", "--metric", "accuracy"];
    expect((await json("--data", data, ...fields, "--labels", "net,libs")).scores).toEqual({ accuracy: 100 });
  });

  test.each([
    ["an unknown metric", "a.tsv", TSV, ["--metric", "bleu,meteor"], /^E_USAGE: --metric has "meteor"/],
    [
      "labels and beams",
      "a.tsv",
      TSV,
      ["--labels", "a,b", "--beams", "2"],
      /^E_USAGE: --labels and --beams contradict/,
    ],
    ["labels twice", "a.tsv", TSV, ["--labels", "a,a"], /^E_INPUT: Label "a" is given twice/],
    ["a column", "a.tsv", "only\n", [], /^E_DATA_COLUMN: .*a\.tsv:1 has no column "input" \(it has: 1\)/],
    ["no rows", "a.tsv", "\n\n", [], /^E_DATA_TOO_SMALL: .*a\.tsv has no rows/],
    ["half a line", "a.jsonl", '{"input":', [], /^E_DATA_ROW: .*a\.jsonl:1: it is not JSON/],
    [
      "another field",
      "a.jsonl",
      '{"text":"a"}',
      [],
      /^E_DATA_COLUMN: .*a\.jsonl:1 has no column "input" \(it has: text\)/,
    ],
    ["no gzip", "a.tsv.gz", TSV, [], /^E_DATA_FILE: .*not a whole gzip file/],
    ["nowhere to write", "a.tsv", TSV, ["--out", "/nowhere/a"], /^E_IO: /],
  ])("%s: refused with the reason", async (_, name, content, args, message) => {
    const { code, stdout, stderr } = await edgeT5([
      "eval",
      DEFAULT_PACKAGE,
      "--data",
      await file(name, content),
      ...args,
    ]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });
});
