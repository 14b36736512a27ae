import { describe, expect, test } from "vitest";
import { edgeT5 } from "./process.ts";

const PROMPT = "translate English to German: The house is old.";
const ANSWER = "Das Haus ist alt.";

async function json(...args: string[]) {
  const { code, stdout, stderr } = await edgeT5(["generate", PROMPT, "--json", ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as {
    text: string;
    finish_reason: string;
    seed?: number;
    input_ids: number[];
    output_ids: number[];
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
    expect(result).toMatchObject({
      text: ANSWER,
      finish_reason: "stop",
      usage: { prompt_tokens: 11, completion_tokens: 6, total_tokens: 17 },
    });
    expect(result.input_ids).toHaveLength(11);
    expect(result.output_ids).toHaveLength(6);
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
    [["generate", PROMPT, "--model", "/nowhere"], /^E_PACKAGE_NOT_FOUND: No manifest\.json in \/nowhere/],
    [["generate", "word ".repeat(2100)], /^E_CONTEXT_LENGTH: .*2048/],
  ])("%j is refused", async (args, message) => {
    const { code, stdout, stderr } = await edgeT5(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });
});
