/** Where rows to measure on come from. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "fflate";
import { expect, test } from "vitest";
import { lastingFolder } from "../model-split/checkpoints.ts";
import { keptRows, validationRows } from "./rows.ts";

test("the recipe's validation rows have the prefixes and cuts that the model was trained with", async () => {
  const folder = await lastingFolder();
  const put = (name: string, text: string) => writeFile(join(folder, name), gzipSync(new TextEncoder().encode(text)));
  const words = "word ".repeat(100);
  await put("tatoeba.en-de.valid.tsv.gz", "Ask Tom.\tFrag Tom!\nAsk Tom.\tFragen Sie Tom!\nOne.\tEins.\nTwo.\tZwei.\n");
  await put("tatoeba.en-fr.valid.tsv.gz", "One.\tUn.\n");
  const described = { package: "a", section: "libs", description: words, synopsis: "words" };
  await put("debian-descriptions.valid.jsonl.gz", `${JSON.stringify(described)}\n`);
  const rows = await validationRows(folder, 100);
  expect(rows["translate-de"]).toEqual([
    { input: "translate English to German: Ask Tom.", reference: "Frag Tom!" },
    { input: "translate English to German: Ask Tom.", reference: "Fragen Sie Tom!" },
    { input: "translate English to German: One.", reference: "Eins." },
    { input: "translate English to German: Two.", reference: "Zwei." },
  ]);
  expect(rows["translate-fr"]).toEqual([{ input: "translate English to French: One.", reference: "Un." }]);
  expect(rows.summarize).toEqual([{ input: `summarize: ${words.slice(0, 320).trimEnd()}`, reference: "words" }]);
  expect(rows["classify-package"][0]?.reference).toBe("libs");
  // Few of many come from all over the file.
  const few = await validationRows(folder, 2);
  expect(few["translate-de"].map(({ reference }) => reference)).toEqual(["Frag Tom!", "Eins."]);
});

test("of the rows kept here a task has 200, or as many as are asked for", () => {
  expect(keptRows(1e6).summarize).toHaveLength(200);
  expect(keptRows(7)["translate-fr"]).toHaveLength(7);
});
