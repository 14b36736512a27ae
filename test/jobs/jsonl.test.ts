/** Rows of JSON lines: whole however they arrive, and what is wrong with them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { ApiError } from "../../src/api-error.ts";
import { parseTrainingRow } from "../../src/jobs/fine-tuning/spec.ts";
import { checkRows, InvalidFile, type Line, linesOf } from "../../src/jobs/jsonl.ts";

/** Bytes in pieces that end at the places given. */
function streamOf(bytes: Uint8Array, cuts: readonly number[] = []): ReadableStream<Uint8Array> {
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return new ReadableStream({
    start(controller) {
      let from = 0;
      for (const end of ends) {
        if (end > from) controller.enqueue(bytes.slice(from, end));
        from = end;
      }
      controller.close();
    },
  });
}

const textOf = (text: string) => new TextEncoder().encode(text);

async function collect(stream: ReadableStream<Uint8Array>): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const line of linesOf(stream)) lines.push(line);
  return lines;
}

test("lines are those of the text, wherever it is cut, numbered as editors do", async () => {
  const line = fc.string({ unit: fc.constantFrom("a", "ä", "𝄞", " ", "{", "\t", "\r") });
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.array(fc.nat(200)), async (texts, cuts) => {
      const text = texts.join("\n");
      const expected = text
        .split("\n")
        .map((each, i) => ({ number: i + 1, text: each.replace(/\r$/, "") }))
        .filter((each) => each.text.trim() !== "");
      expect(await collect(streamOf(textOf(text), cuts))).toEqual(expected);
    }),
  );
});

test("a byte order mark is no part of the first row", async () => {
  expect(await collect(streamOf(textOf('\uFEFF{"a":1}\n')))).toEqual([{ number: 1, text: '{"a":1}' }]);
});

async function problemsOf(bytes: Uint8Array, check: (row: unknown) => void = () => {}, most = 10) {
  const failed = await checkRows("rows.jsonl", streamOf(bytes), most, check).catch((error: unknown) => error);
  if (!(failed instanceof InvalidFile)) throw failed;
  return { message: failed.message, lines: failed.problems.map(({ line, code }) => [line, code]), body: failed.body() };
}

test("what is wrong names file, line and reason, of twenty rows at most", async () => {
  const broken = await problemsOf(textOf('{"a":1}\n\n{"a":\n[1]\n'), (row) => {
    if (Array.isArray(row)) throw new ApiError(400, "invalid_type", "It is a list.", { param: "a" });
  });
  expect(broken.lines).toEqual([
    [3, "invalid_json"],
    [4, "invalid_type"],
  ]);
  expect(broken.message).toMatch(/^rows\.jsonl, line 3: It is no JSON: .* \(and 1 more, in errors\)$/);
  expect(broken.body.error).toMatchObject({ code: "invalid_file", errors: [{ line: 3 }, { line: 4, param: "a" }] });

  const many = await problemsOf(textOf("x\n".repeat(50)), () => {}, 100);
  expect(many.lines).toHaveLength(20);
  const over = await problemsOf(textOf("1\n".repeat(11)));
  expect(over.lines).toEqual([[11, "too_many_rows"]]);
  const latin = await problemsOf(Uint8Array.from([...textOf('{"a":1}\n"'), 0xe4, 0x22, 0x0a]));
  expect(latin.lines).toEqual([[2, "invalid_encoding"]]);
  const long = await problemsOf(textOf(`1\n"${"a".repeat(1 << 20)}"`));
  expect(long.lines).toEqual([[2, "line_too_long"]]);
});

test("training rows by any of their usual names", () => {
  const wanted = { input: "a", target: "b" };
  for (const row of [
    { prompt: "a", completion: "b" },
    { input: "a", target: "b", note: 1 },
    { text: "a", label: "b" },
    {
      messages: [
        { role: "user", content: "a" },
        { role: "assistant", content: "b" },
      ],
    },
  ]) {
    expect(parseTrainingRow(row)).toEqual(wanted);
  }
  for (const row of [null, "a", { prompt: "a" }, { prompt: "a", completion: 1 }, { input: " ", target: "b" }]) {
    expect(() => parseTrainingRow(row)).toThrow(ApiError);
  }
});
