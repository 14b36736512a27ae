/** `edge-t5 tokenizer train`, as a person calls it. */
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { loadTokenizer } from "../../src/t5/tokenizer.ts";
import { writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { edgeT5, startEdgeT5 } from "./process.ts";

const CORPUS = fileURLToPath(new URL("../fixtures/corpus.txt.gz", import.meta.url));
const train = (...args: string[]) => edgeT5(["tokenizer", "train", ...args]);

test("writes a tokenizer that a checkpoint is split with, shows progress and says what it made", async () => {
  const dir = await temporaryFolder();
  const { code, stdout, stderr } = await train(CORPUS, "--size", "2000", "--out", dir);
  expect(code).toBe(0);
  expect(stderr).toContain("100 % (107 kB of 107 kB)");
  expect(stdout).toMatch(
    /^2,000 tokens in .*tokenizer\.json: \d+ characters, 100 sentinels; [\d.]+ characters of the corpus a token/,
  );
  await writeRandomCheckpoint(dir, {
    model_type: "t5",
    vocab_size: 2000,
    d_model: 8,
    d_kv: 4,
    d_ff: 8,
    num_heads: 2,
    num_layers: 1,
  });
  const out = await temporaryFolder();
  const { manifest } = await splitCheckpoint(dir, out);
  const tokenizer = await loadTokenizer(manifest, new FolderStore(out));
  expect(tokenizer.decode(tokenizer.encode("Das Haus ist alt."))).toBe("Das Haus ist alt.");
  expect(tokenizer.encode("<extra_id_0>")).toEqual([1999, 1]);
});

test("takes several files and fields of JSON lines; --json prints one object and nothing else", async () => {
  const dir = await temporaryFolder();
  const json = join(dir, "a.jsonl");
  const rows = Array.from({ length: 50 }, () => ({ text: "die Straße über dem Fluss", id: "ЖЖЖ" }));
  await writeFile(json, rows.map((row) => JSON.stringify(row)).join("\n"));
  const out = join(dir, "new", "folder");
  const { code, stdout, stderr } = await train(
    CORPUS,
    json,
    "--fields",
    "text",
    "--size",
    "1000",
    "--whole",
    "summarize:",
    "--whole=classify package:",
    "--out",
    out,
    "--json",
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({ out, size: 1000, unknown_characters: expect.any(Number) });
  const { model } = JSON.parse(await readFile(join(out, "tokenizer.json"), "utf8"));
  expect(model.vocab.slice(3, 5)).toEqual([
    ["summarize:", 0],
    ["classify package:", 0],
  ]);
  const pieces = model.vocab.map(([piece]: [string]) => piece);
  expect(pieces).toContain("ß");
  expect(pieces).not.toContain("Ж");
  expect(JSON.parse(await readFile(join(out, "tokenizer_config.json"), "utf8"))).toMatchObject({ eos_token: "</s>" });
});

test.each<[string, string[], RegExp]>([
  ["no corpus", ["--size", "1000", "--out", "x"], /^E_USAGE: CORPUS is missing/],
  ["no size", [CORPUS, "--out", "x"], /^E_USAGE: --size is missing/],
  [
    "a size below the characters",
    [CORPUS, "--size", "110", "--out", "x"],
    /^E_USAGE: The corpus has \d+ characters to cover/,
  ],
  ["more than the corpus gives", [CORPUS, "--size", "900000", "--out", "x"], /^E_INPUT: The corpus gives [\d]+ tokens/],
  ["a file that is not there", ["none.txt", "--size", "1000", "--out", "x"], /^E_IO: ENOENT.*none\.txt/],
])("%s: a clear error, and nothing is written", async (_, args, message) => {
  const cwd = await temporaryFolder();
  const { code, stderr } = await edgeT5(["tokenizer", "train", ...args], { cwd });
  expect(code).toBe(1);
  expect(stderr.split("\n").findLast((line) => line !== "")).toMatch(message);
  expect(existsSync(join(cwd, "x"))).toBe(false);
});

test("Ctrl-C ends it, and writes nothing", async () => {
  const dir = await temporaryFolder();
  const file = join(dir, "corpus.txt");
  await writeFile(file, "one two three four\n".repeat(2e6));
  const { child, ended } = startEdgeT5(["tokenizer", "train", file, "--size", "200", "--out", join(dir, "out")]);
  child.stderr?.once("data", () => child.kill("SIGINT"));
  expect(await ended).toMatchObject({ code: 130, stderr: expect.stringContaining("E_INTERRUPTED") });
  expect(existsSync(join(dir, "out"))).toBe(false);
});
