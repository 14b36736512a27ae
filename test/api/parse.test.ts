/** What a client is told of a body that does not fit. */
import { expect, test } from "vitest";
import * as z from "zod";
import { parseCompletionRequest } from "../../src/api/completions.ts";
import { parseInference } from "../../src/api/hugging-face.ts";
import { parseWith } from "../../src/api/parse.ts";
import { parseTaskRun } from "../../src/api/task-run.ts";
import type { ApiError } from "../../src/api-error.ts";
import { taskDefinitionSchema } from "../../src/tenancy/task-definition.ts";

function errorOf(parse: () => unknown): Pick<ApiError, "code" | "param" | "message"> {
  try {
    parse();
  } catch (error) {
    const { code, param, message } = error as ApiError;
    return { code, param, message };
  }
  throw new Error("It was taken.");
}

test("a misspelled field is named, though it is missing under its right name too", () => {
  const schema = z.strictObject({ input: z.union([z.string(), z.array(z.string())]) });
  const parse = (value: unknown) => () => parseWith(schema, value, "a run");
  expect(errorOf(parse({ inputs: "x" }))).toEqual({
    code: "unknown_parameter",
    param: "inputs",
    message: "inputs is no part of a run. Did you mean input?",
  });
  expect(errorOf(parse({ input: "x", inputs: "x" })).message).toBe("inputs is no part of a run. Leave it out.");
  expect(errorOf(() => parseTaskRun({ inputs: "a" })).message).toMatch(/ Did you mean input\?$/);
  expect(errorOf(() => parseTaskRun({ input: "a", maxTokens: 3 })).message).toMatch(/ Did you mean max_tokens\?$/);
  for (const unlike of ["colour", "no", "nn"]) {
    expect(errorOf(() => parseTaskRun({ input: "a", [unlike]: 1 })).message).toMatch(/ Leave it out\.$/);
  }
  expect(errorOf(parse({}))).toEqual({
    code: "missing_required_parameter",
    param: "input",
    message: "input is missing from a run: give a text or a list.",
  });
  expect(parse({ input: "x" })()).toEqual({ input: "x" });
});

const TASK = { model: "m", template: "{input}" };
const task = (fields: object) => () => parseWith(taskDefinitionSchema, { ...TASK, ...fields }, "a task");
const run = (fields: object) => () => parseTaskRun({ input: "a", ...fields });
const ofForm = (schema: z.ZodType, value: unknown) => () =>
  parseWith(z.strictObject({ a: schema }), { a: value }, "it");

test.each<[parse: () => unknown, code: string, message: string]>([
  [task({ model: 3 }), "invalid_type", "model: give a text, not 3."],
  [task({ model: undefined }), "missing_required_parameter", "model is missing from a task: give a text."],
  [task({ template: null }), "invalid_type", "template: give a text, not null."],
  [task({ labels: ["a"] }), "invalid_value", "labels: give at least 2 items, not 1."],
  [task({ labels: [] }), "invalid_value", "labels: it is empty; give at least one."],
  [task({ labels: ["a", ""] }), "invalid_value", "labels.1: it is empty; give a text."],
  [task({ labels: ["a", "a"] }), "invalid_value", "labels: labels must differ from each other."],
  [task({ words: 3 }), "invalid_value", "words: give a number of at least 5, not 3."],
  [task({ words: 5.5 }), "invalid_type", "words: give a whole number, not 5.5."],
  [task({ table: { form: "csv" } }), "invalid_value", 'table.form: give "tapex" or "totto", not "csv".'],
  [task({ cache: "answers" }), "invalid_type", 'cache: give an object, not "answers".'],
  [task({ generation: { top_p: 0 } }), "invalid_value", "generation.top_p: give a number of more than 0, not 0."],
  [
    task({ generation: { early_stopping: 1 } }),
    "invalid_value",
    'generation.early_stopping: give true or false or "never", not 1.',
  ],
  [run({ explain: "yes" }), "invalid_type", 'explain: give true or false, not "yes".'],
  [run({ words: 6000 }), "invalid_value", "words: give a number of at most 5000, not 6000."],
  [run({ select: { table: true } }), "invalid_value", "select.table: give a text or a number, not true."],
  [run({ select: { columns: [] } }), "invalid_value", "select.columns: it is empty; give at least one."],
  [run({ select: { highlighted: [[1]] } }), "invalid_value", "select.highlighted.0: give at least 2 items, not 1."],
  [run({ select: { rows: { where: { a: 1 } } } }), "invalid_type", "select.rows.where.a: give a text, not 1."],
  [() => parseTaskRun("a"), "invalid_type", 'a task\'s run: give an object, not "a".'],
  [ofForm(z.base64(), "ä"), "invalid_value", 'a: give base64, not "ä".'],
  [ofForm(z.iso.date(), "x"), "invalid_value", 'a: give a date, such as 2026-11-28, not "x".'],
  [ofForm(z.string().max(3), "abcd"), "invalid_value", "a: give a text of at most 3 characters, not 4."],
  [ofForm(z.string().regex(/^a+$/), "b"), "invalid_value", "a: give a text of the form /^a+$/."],
  [ofForm(z.coerce.number(), "b"), "invalid_type", "a: give a number."],
])("what does not fit is told in plain words, %#", (parse, code, message) => {
  expect(errorOf(parse)).toMatchObject({ code, message });
});

const shapes: readonly [name: string, parse: (given: unknown) => unknown][] = [
  ["prompt", (prompt) => parseCompletionRequest({ model: "m", prompt })],
  ["inputs", (inputs) => parseInference({ inputs })],
  ["input", (input) => parseTaskRun({ input })],
];

test.each(shapes)("%s: none, an empty one, and too many are refused alike in every shape of request", (name, parse) => {
  const codeOf = (given: unknown) => {
    const { code, param } = errorOf(() => parse(given));
    return [code, param];
  };
  for (const none of ["", " \n", [], [""]]) expect(codeOf(none)).toEqual(["empty_prompt", name]);
  expect(codeOf(["a", " "])).toEqual(["empty_prompt", `${name}.1`]);
  const many = errorOf(() => parse(Array(33).fill("a")));
  expect(many).toMatchObject({ code: "invalid_value", param: name });
  expect(many.message).toMatch(/has 33 texts; a request takes up to 32\. .*\/v1\/batches/);
});
