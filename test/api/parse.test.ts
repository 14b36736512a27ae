/** What a client is told of a body that does not fit. */
import { expect, test } from "vitest";
import * as z from "zod";
import { parseWith } from "../../src/api/parse.ts";

test("a misspelled field is named, though it is missing under its right name too", () => {
  const schema = z.strictObject({ input: z.union([z.string(), z.array(z.string())]) });
  const parse = (value: unknown) => () => parseWith(schema, value, "a run");
  expect(parse({ inputs: "x" })).toThrow(expect.objectContaining({ code: "unknown_parameter", param: "inputs" }));
  expect(parse({})).toThrow(expect.objectContaining({ code: "invalid_value", param: "input" }));
  expect(parse({ input: "x" })()).toEqual({ input: "x" });
});
