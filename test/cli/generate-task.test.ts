/** `edge-t5 generate --task`: what the model is given, what is said beside the answer, and what is refused. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pngOf } from "../readers/image-pages.ts";
import { tokenizer } from "../training/tokenizer.ts";
import { edgeT5, MAIN, startEdgeT5 } from "./process.ts";

/** Longest prompt that the packaged model was trained with. */
const TRAINED = 512;

const SENTENCES = ["The house is old.", "The dog is big.", "The train leaves at five o'clock.", "Where is my book?"];
const LONG = Array.from({ length: 100 }, (_, i) => SENTENCES[(i * 7 + (i >> 2)) % 4]).join(" ");
/** One sentence that no piece holds. */
const ENDLESS = `The house is old${" and the dog is big".repeat(40)}.`;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-task-"));
  const tasks = {
    plain: { template: "translate English to German: {input}" },
    short: { template: "translate English to German: {input}", max_input_tokens: 8 },
    terse: { template: "translate English to German: {input}", max_output_tokens: 3 },
    pair: { template: "translate English to {language}: {text}" },
    letter: { template: "translate English to {language}: {document}", input: "document", long: "sentences" },
    facts: { template: "{question} {table}", input: "table" },
    lent: { template: "translate English to German: {input}", adapter: "legal" },
  };
  for (const [name, task] of Object.entries(tasks)) {
    await writeFile(join(dir, `${name}.json`), JSON.stringify({ model: "default", ...task }));
  }
  await writeFile(join(dir, "letter.txt"), "The house is old.\n\nThe dog is big.\n");
  await writeFile(join(dir, "towns.csv"), "town,people\nBonn,330000\nUlm,126000\n");
  await writeFile(join(dir, "long.txt"), LONG);
  await writeFile(
    join(dir, "blank.png"),
    pngOf({ width: 200, height: 80, pixels: new Uint8Array(200 * 80).fill(255) }),
  );
});

afterAll(() => rm(dir, { recursive: true, force: true }));

const generate = (...args: string[]) => edgeT5(["generate", ...args], { cwd: dir });

interface Told {
  text: string;
  label?: string;
  windows?: number;
  notes: string[];
  explain?: { inputs: string[]; total: number };
}

async function told(...args: string[]): Promise<Told> {
  const { code, stdout, stderr } = await generate(...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Told;
}

describe("--explain tells what the model is given", () => {
  test("of a translation its sentences, on stderr or in the JSON", async () => {
    const args = ["--task", "translate-de", "The house is old. The dog is big. The house is old.", "--explain"];
    const inputs = ["The house is old.", "The dog is big."].map((each) => `translate English to German: ${each}`);
    expect((await told(...args)).explain).toEqual({ inputs, total: 2 });
    expect(await generate(...args)).toMatchObject({
      code: 0,
      stdout: "Das Haus ist alt. Der Hund ist groß. Das Haus ist alt.\n",
      stderr: `Input 1 of 2: ${inputs[0]}\nInput 2 of 2: ${inputs[1]}\n`,
    });
  });

  test("of a summary and of labels windows that are no longer than what the model was trained with", async () => {
    for (const [task, prefix] of [
      ["summarize", "summarize: "],
      ["classify-package", "classify package: "],
    ] as const) {
      const { explain, windows, notes } = await told("--task", task, "long.txt", "--explain");
      expect(explain?.total).toBeGreaterThan(1);
      expect(explain?.inputs).toHaveLength(explain?.total ?? 0);
      expect(windows ?? explain?.total).toBe(explain?.total);
      expect(notes).toEqual(windows ? [`The text went through the model in ${windows} windows.`] : []);
      for (const input of explain?.inputs ?? []) {
        expect(input.startsWith(prefix)).toBe(true);
        expect(tokenizer.encode(input).length).toBeLessThanOrEqual(TRAINED);
      }
    }
  });

  test("of many pieces the first, as the API does, and of one the prompt alone", async () => {
    const many = Array.from({ length: 40 }, (_, i) => `I have ${i} books.`).join(" ");
    const { code, stderr } = await generate("--task", "translate-de", many, "--explain");
    expect(code).toBe(0);
    expect(stderr).toContain("Input 32 of 40: translate English to German: I have 31 books.\n… and 8 more.\n");
    const one = await generate("--task", "plain.json", "The house is old.", "--explain");
    expect(one.stderr).toBe("translate English to German: The house is old.\n");
    const none = await generate("--task", "translate-de", "123 456", "--explain");
    expect(none).toMatchObject({ stdout: "123 456\n", stderr: expect.stringMatching(/^The model is given nothing/) });
  });
});

describe("what is not as it was asked for is noted", () => {
  test("a sentence that was cut, beside the text and in the JSON", async () => {
    const args = ["--task", "translate-de", ENDLESS, "--max-tokens", "40"];
    const note = "One sentence was too long for the model: it was cut.";
    expect((await told(...args)).notes).toContain(note);
    const { stdout, stderr } = await generate(...args);
    expect(stderr).toContain(`Note: ${note}\n`);
    expect(stdout).not.toContain(note);
  });

  test("a prompt that is longer than those of the training", async () => {
    const prompt = `summarize: ${LONG}`;
    const note = `The prompt has ${tokenizer.encode(prompt).length} tokens, the model was trained with up to ${TRAINED}: the answer may be worse.`;
    const one = ["--max-tokens", "1"];
    expect((await generate(prompt, ...one)).stderr).toMatch(new RegExp(`^Note: ${note} .*--task`));
    expect((await told(prompt, ...one)).notes).toEqual([expect.stringContaining(note)]);
    expect((await told(prompt, "--labels", "games,libs")).notes).toEqual([expect.stringContaining(note)]);
    const whole = await told("--task", "plain.json", LONG, ...one);
    expect(whole.notes).toEqual([expect.stringMatching(/trained with up to 512.*set its long/)]);
  });

  test("an adapter that the task answers with and that is not here", async () => {
    const { notes } = await told("--task", "lent.json", "The house is old.");
    expect(notes).toEqual([expect.stringMatching(/adapter legal.*--adapter/)]);
  });
});

test("an answer is no longer than the task gives", async () => {
  const { text } = await told("--task", "terse.json", "The house is old.");
  expect(tokenizer.encode(text).length).toBeLessThanOrEqual(4);
  expect("Das Haus ist alt.").toContain(text.trim());
});

describe("--field gives what stands beside the prompt", () => {
  test.each([
    ["a file", ["--task", "letter.json", "letter.txt", "--field", "language=German"]],
    ["a text", ["--task", "letter.json", "The house is old.", "--field", "language=German"]],
    ["nothing", ["--task", "pair.json", "--field", "text=The house is old.", "--field=language=German"]],
    ["JSON", ["--task", "pair.json", '{"text":"The house is old."}', "--field", "language=German"]],
  ])("beside %s", async (_, args) => {
    const { text } = await told(...args);
    expect(text).toMatch(/^Das Haus ist alt\./);
  });

  test("beside a table, and what is selected of it, whose rows count from 1", async () => {
    const question = ["--field", "question=Which town = largest?"];
    const given = async (...args: string[]) =>
      (await told("--task", "facts.json", ...args, ...question, "--explain", "--max-tokens", "1")).explain?.inputs;
    const first = ["Which town = largest? col : town row 1 : Bonn"];
    expect(await given("towns.csv", "--select", '{"columns":["town"],"rows":{"from":1,"to":1}}')).toEqual(first);
    expect(await given('{"rows":[{"town":"Bonn"}]}')).toEqual(first);
    const { stdout } = await generate("--help");
    const example = /--select=<json>.*(\{"table".*\}\})/.exec(stdout)?.[1] ?? "";
    expect(JSON.parse(example).rows).toEqual({ from: 1, to: 9 });
  });
});

describe("what does not go together is refused, both by name", () => {
  const PROMPT = "translate English to German: The house is old.";
  test.each<[string[], RegExp]>([
    [[PROMPT, "--words", "50"], /^E_USAGE: --words is for --task/],
    [[PROMPT, "--explain"], /^E_USAGE: --explain is for --task/],
    [[PROMPT, "--select", '{"table":0}'], /^E_USAGE: --select is for --task/],
    [["--field", "a=b"], /^E_USAGE: --field is for --task/],
    [[], /^E_USAGE: PROMPT is missing/],
    [["--task", "summarize"], /^E_USAGE: PROMPT is missing/],
    [["--task", "translate-de", "x", "--words", "9"], /^E_USAGE: --words .* --task translate-de does not/],
    [["--task", "translate-de", "x", "--select", "{}"], /^E_USAGE: --select .* --task translate-de takes document/],
    [
      ["--task", "facts.json", "towns.csv", "--languages", "deu"],
      /^E_USAGE: --languages .* --task facts.json does not/,
    ],
    [["--task", "translate-de", "x", "--languages", "eng,xyz"], /^E_USAGE: --languages has "xyz". .* eng, deu, fra/],
    [["--task", "translate-de", "blank.png", "--languages", "deu,fra"], /^E_INPUT: .*in the image \(OCR in deu, fra\)/],
    [["--task", "translate-de", "x", "--answers", "2"], /^E_USAGE: --answers and --task/],
    [["--task", "translate-de", "x", "--logprobs", "2"], /^E_USAGE: --logprobs and --task/],
    [["--task", "classify-package", "x", "--beams", "2"], /^E_USAGE: --beams and --task classify-package/],
    [["--task", "translate-de", "x", "--field", "y"], /^E_USAGE: --field is "y". Write NAME=TEXT/],
    [["--task", "translate-de", "x", "--field", "y=z"], /^E_USAGE: --field y is none .* has input/],
    [["--task", "pair.json", "--field", "text=a", "--field", "text=b"], /^E_USAGE: --field text is given twice/],
    [["--task", "pair.json", '{"text":"x"}', "--field", "text=b"], /^E_USAGE: --field text is in PROMPT/],
    [["--task", "translate-de", "x", "--field", "input=y"], /^E_USAGE: PROMPT is one field .* gives all/],
    [
      ["--task", "facts.json", "towns.csv", "--field", "table=x", "--field", "question=y"],
      /^E_INPUT: The file and the input\.table are both given /,
    ],
    [
      ["--task", "pair.json", "letter.txt", "--field", "language=German"],
      /^E_INPUT: .* takes texts, no file.*document/,
    ],
    [
      ["--task", "short.json", "The house is old, and the dog is big."],
      /^E_CONTEXT_LENGTH: .* takes up to 8 \(max_input_tokens\)/,
    ],
    [
      ["--task", "terse.json", "The house is old.", "--max-tokens", "4"],
      /^E_CONTEXT_LENGTH: .* gives up to 3 \(max_output_tokens\)/,
    ],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await generate(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });
});

describe("how far a summary is", () => {
  const args = ["--task", "summarize", "--words", "20"];

  test("is not told to a pipe: nothing is there but the summary and notes", async () => {
    const { code, stdout, stderr } = await generate(...args, "long.txt");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\S.*\n$/);
    expect(stderr).toMatch(/^(?:Note: .*\n)*$/);
  });

  const hasScript = spawnSync("script", ["--version"]).stdout?.toString().includes("util-linux") ?? false;
  test.skipIf(!hasScript)("is told to a terminal, up to all of its parts", async () => {
    const command = [process.execPath, MAIN, "generate", ...args, "long.txt"].map((each) => `'${each}'`).join(" ");
    const child = spawn("script", ["-qec", command, "/dev/null"], { cwd: dir, stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    for await (const chunk of child.stdout.setEncoding("utf8")) output += chunk;
    const counts = [...output.matchAll(/(\d+) of (\d+) {2}parts read/g)].map(([, done, of]) => [
      Number(done),
      Number(of),
    ]);
    const [done, of] = counts.at(-1) ?? [];
    expect(of).toBeGreaterThan(1);
    expect(done).toBe(of);
  });
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s ends a long answer", async (name, status) => {
  const text = Array.from({ length: 2000 }, (_, i) => `The house has ${i} rooms.`).join(" ");
  await writeFile(join(dir, "rooms.txt"), text);
  const { child, ended } = startEdgeT5(["generate", "--task", "translate-de", "rooms.txt"], { cwd: dir });
  child.stdout?.once("data", () => child.kill(name));
  const { code, stdout, stderr } = await ended;
  expect({ code, stderr }).toEqual({ code: status, stderr: `E_INTERRUPTED: Interrupted by ${name}.\n` });
  expect(stdout.length).toBeLessThan(text.length / 2);
});
