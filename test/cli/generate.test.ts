import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PDFDocument, StandardFonts } from "pdf-lib";
import { describe, expect, test } from "vitest";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { generationParamsSchema } from "../../src/t5/generation/config.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { tokenizer } from "../training/tokenizer.ts";
import { edgeT5 } from "./process.ts";

const PROMPT = "translate English to German: The house is old.";
const ANSWER = "Das Haus ist alt.";
const PROMPT_IDS = tokenizer.encode(PROMPT);
const ANSWER_IDS = tokenizer.encode(ANSWER);
const FIRST = ANSWER_IDS[0] as number;

async function json(...args: string[]) {
  const { code, stdout, stderr } = await edgeT5(["generate", PROMPT, "--json", ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as {
    text: string;
    finish_reason: string;
    seed?: number;
    input_ids: number[];
    output_ids: number[];
    score?: number;
    sequences?: { text: string; score: number; output_ids: number[] }[];
    logprobs?: { token: string; logprob: number; top: { logprob: number }[] }[];
    usage: object;
    timings_ms: Record<string, number>;
  };
}

describe("edge-t5 generate", () => {
  test("prints the answer", async () => {
    expect(await edgeT5(["generate", PROMPT])).toMatchObject({ code: 0, stdout: `${ANSWER}\n`, stderr: "" });
  });

  test("with --json adds ids, token counts and timings", async () => {
    const result = await json();
    const [prompt_tokens, completion_tokens] = [PROMPT_IDS.length, ANSWER_IDS.length];
    expect(result).toMatchObject({
      text: ANSWER,
      finish_reason: "stop",
      usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
      input_ids: PROMPT_IDS,
      output_ids: ANSWER_IDS,
    });
    expect(result.timings_ms.load).toBeGreaterThan(0);
    expect(result.timings_ms.generate).toBeGreaterThan(0);
  });

  test("both kernels give the same ids", async () => {
    const [plain, relaxed] = [await json("--kernels", "plain"), await json("--kernels", "relaxed")];
    expect(plain.output_ids).toEqual(relaxed.output_ids);
  });

  test("searches with beams", async () => {
    expect(await json("--beams", "4")).toMatchObject({ text: ANSWER, finish_reason: "stop" });
  });

  test("gives several answers of a search, best first", async () => {
    const result = await json("--beams", "4", "--answers", "3");
    const scores = result.sequences?.map(({ score }) => score) ?? [];
    expect(result).toMatchObject({ text: ANSWER, score: scores[0] });
    expect(scores).toHaveLength(3);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    const { stdout } = await edgeT5(["generate", PROMPT, "--beams", "4", "--answers", "3"]);
    expect(stdout).toBe(`${result.sequences?.map(({ text }) => text).join("\n")}\n`);
  });

  test.each([
    [["--stop", "alt", "--stop", " ist"], "Das Haus"],
    [["--beams", "4", "--early-stopping", "never", "--length-penalty=-1"], ANSWER],
    [["--min-tokens", "5", "--unique-ngrams", "2", "--repetition-penalty", "1.1"], ANSWER],
  ])("%j", async (args, text) => {
    expect(await json(...args)).toMatchObject({ text });
  });

  test("leaves out and begins with what it is told to", async () => {
    const suppressed = await json("--suppress-tokens", String(FIRST));
    expect(suppressed.output_ids).not.toContain(FIRST);
    const words = await json("--bad-words-ids", `[[${FIRST}],[${ANSWER_IDS.slice(1, 3)}]]`);
    expect(words.output_ids).not.toContain(FIRST);
    expect(words.text).not.toContain(tokenizer.decode(ANSWER_IDS.slice(1, 3)));
    const [other] = tokenizer.encode("Der") as [number];
    expect((await json("--forced-bos-token-id", String(other))).output_ids[0]).toBe(other);
  });

  test("tells log-probabilities", async () => {
    const { logprobs } = await json("--logprobs", "2");
    expect(logprobs?.map(({ token }) => token)).toEqual(ANSWER_IDS.map((id) => tokenizer.nameOf(id)));
    for (const { logprob, top } of logprobs ?? []) expect([top.length, top[0]?.logprob]).toEqual([2, logprob]);
    expect((await edgeT5(["generate", PROMPT, "--logprobs", "2"])).stdout).toMatch(/" Haus" +-\d+\.\d/);
  });

  test("chooses a label", async () => {
    const { code, stdout } = await edgeT5([
      ...["generate", "classify package: a library for sockets", "--labels", "libs, net,games", "--json"],
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).label).toBe("libs");
  });

  test("takes its defaults from the model's generation_config.json", async () => {
    const dir = await temporaryFolder();
    await cp(DEFAULT_PACKAGE, dir, { recursive: true });
    const manifest = JSON.parse(await readFile(join(dir, "manifest.json"), "utf8"));
    const generation = { num_beams: 3, num_return_sequences: 2, max_length: 4 };
    await writeFile(join(dir, "manifest.json"), JSON.stringify({ ...manifest, generation }));
    const result = await json("--model", dir);
    expect(result.sequences?.map(({ output_ids }) => output_ids.length)).toEqual([3, 3]);
    expect((await edgeT5(["generate", PROMPT, "--model", dir])).stdout.trim().split("\n")).toHaveLength(2);
    expect(await json("--model", dir, "--answers", "1", "--max-tokens", "9")).toMatchObject({ text: ANSWER });
  });

  test("samples, the same with the seed that it tells", async () => {
    const first = await json("--temperature", "2", "--max-tokens", "12");
    const again = await json("--temperature", "2", "--max-tokens", "12", "--seed", String(first.seed));
    expect(again.output_ids).toEqual(first.output_ids);
    expect(await json("--temperature", "0")).toMatchObject({ text: ANSWER });
  });

  test.each([
    [["generate", " "], /^E_INPUT: The prompt is empty/],
    [["generate", PROMPT, "--beams", "0"], /^E_USAGE: --beams is "0"/],
    [["generate", PROMPT, "--temperature", "hot"], /^E_USAGE: --temperature is "hot"/],
    [["generate", PROMPT, "--beams", "2", "--top-k", "3"], /^E_INPUT: num_beams and do_sample contradict/],
    [["generate", PROMPT, "--answers", "2"], /^E_INPUT: num_return_sequences is 2, num_beams 1/],
    [["generate", PROMPT, "--labels", "a,b", "--temperature", "1"], /^E_USAGE: --labels and --temperature contradict/],
    [["generate", PROMPT, "--labels", "a,b,a"], /^E_INPUT: Label "a" is given twice/],
    [["generate", PROMPT, "--labels", "a,,b"], /^E_INPUT: Label 2 is empty/],
    [["generate", PROMPT, "--labels", "a", "--labels", "b"], /^E_USAGE: --labels is given twice/],
    [["generate", PROMPT, "--bad-words-ids", "630"], /^E_USAGE: --bad-words-ids is "630"\. It must be a list of lists/],
    [["generate", PROMPT, "--suppress-tokens", "630;1"], /^E_USAGE: --suppress-tokens is "630;1"/],
    [["generate", PROMPT, "--forced-bos-token-id", "8064"], /^E_INPUT: forced_bos_token_id has 8064; .* 8063/],
    [["generate", PROMPT, "--model", "/nowhere"], /^E_PACKAGE_NOT_FOUND: No manifest\.json in \/nowhere/],
    [["generate", "word ".repeat(2100)], /^E_CONTEXT_LENGTH: .*2048/],
  ])("%j is refused", async (args, message) => {
    const { code, stdout, stderr } = await edgeT5(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });

  test("--help has every parameter of generation", async () => {
    const { stdout } = await edgeT5(["generate", "--help"]);
    const named: Record<string, string> = { max_new_tokens: "max-tokens", do_sample: "temperature" };
    for (const name of Object.keys(generationParamsSchema.shape)) {
      const option = named[name] ?? name.replaceAll("_", "-");
      expect(stdout).toMatch(new RegExp(`--${option}=|\\[${name}\\]`));
    }
    for (const option of ["seed", "stop", "logprobs", "labels"]) expect(stdout).toContain(`--${option}=`);
  });
});

describe("edge-t5 generate --task with files", () => {
  test("reads a PDF; what is no file, and a field that is missing, are errors of the input", async () => {
    const folder = await temporaryFolder();
    const pdf = await PDFDocument.create();
    const font = await pdf.embedFont(StandardFonts.Helvetica);
    pdf.addPage().drawText("The house is old.", { x: 50, y: 700, size: 12, font });
    const path = join(folder, "letter.pdf");
    await writeFile(path, await pdf.save());
    expect(await edgeT5(["generate", "--task", "translate-de", path])).toMatchObject({
      code: 0,
      stdout: `${ANSWER}\n`,
    });
    for (const missing of [join(folder, "nofile.docx"), folder]) {
      const { code, stderr } = await edgeT5(["generate", "--task", "translate-de", missing]);
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^E_INPUT: .* is (?:no file|a folder)\./)]);
    }
    const task = join(folder, "facts.json");
    const definition = { model: "default", template: "{question} {table}", input: "table" };
    await writeFile(task, JSON.stringify(definition));
    const csv = join(folder, "towns.csv");
    await writeFile(csv, "town,people\nBonn,330000\n");
    const { code, stderr } = await edgeT5(["generate", "--task", task, csv]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^E_INPUT: .*question/)]);
  });
});
