import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fillTemplate, parseTemplate } from "../../src/t5/template.ts";

const fill = (template: string, values: Record<string, string>) => fillTemplate(parseTemplate(template), values);

describe("templates", () => {
  test("put fields' values into their places", () => {
    const template = parseTemplate("question: {question} context: {context} again: {question}");
    expect(template.fields).toEqual(["question", "context"]);
    expect(fillTemplate(template, { question: "Who?", context: "Nobody." })).toBe(
      "question: Who? context: Nobody. again: Who?",
    );
  });

  test("take doubled braces as braces, in values any", () => {
    expect(fill("{{{input}}} {{input}}", { input: "{x}" })).toBe("{{x}} {input}");
  });

  test.each([
    ["no field", "summarize:"],
    ["only braces", "{{input}}"],
    ["an open brace", "{input} {"],
    ["a closing brace", "} {input}"],
    ["no name", "{}"],
    ["a name with a space", "{my input}"],
    ["a name that begins with a digit", "{1}"],
    ["a brace in a brace", "{a{b}}"],
    ["a name of 33 letters", `{${"a".repeat(33)}}`],
  ])("with %s are refused", (_, template) => {
    expect(() => parseTemplate(template)).toThrowError(expect.objectContaining({ code: "E_INPUT" }));
  });

  test("need every field's value, of their own", () => {
    expect(() => fill("{a} {b}", { a: "" })).toThrow(/field b/);
    expect(() => fill("{toString}", {})).toThrow(/field toString/);
  });

  test("any text around fields comes out as it went in", () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { minLength: 2, maxLength: 5 }), fc.string(), (texts, value) => {
        const template = texts.map((text) => text.replace(/[{}]/g, "$&$&")).join("{field}");
        expect(fill(template, { field: value })).toBe(texts.join(value));
      }),
    );
  });
});
