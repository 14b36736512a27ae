/** `edge-t5 golden` on the references in test/golden: Hugging Face's own outputs on eight shapes. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import type { GoldenReport } from "../../src/golden/run.ts";
import { edgeT5 } from "../cli/process.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";

const GOLDEN = fileURLToPath(new URL("../golden", import.meta.url));

async function golden(...args: string[]) {
  const { code, stdout, stderr } = await edgeT5(["golden", ...args]);
  return { code, stdout, stderr, report: () => JSON.parse(stdout) as GoldenReport & { error?: { code: string } } };
}

/** A copy of one model folder, to be changed. */
async function copyOf(model: string): Promise<string> {
  const dir = await temporaryFolder();
  await cp(join(GOLDEN, model), join(dir, model), { recursive: true });
  return dir;
}

async function changeJson(path: string, change: (json: ReturnType<typeof JSON.parse>) => void): Promise<void> {
  const json = JSON.parse(await readFile(path, "utf8"));
  change(json);
  await writeFile(path, JSON.stringify(json));
}

describe.each([["simd", "--kernels=relaxed"], ["simd", "--kernels=plain"], ["onnx"], ["onnx-web"]])(
  "float32 on %s %s",
  (engine, ...options) => {
    let run: Awaited<ReturnType<typeof golden>>;
    beforeAll(async () => {
      run = await golden(GOLDEN, "--json", "--engine", engine, ...options);
    });

    test("every case that runs is equal, for every shape", () => {
      expect(run.code).toBe(0);
      const { kinds, mismatches } = run.report();
      expect(mismatches).toBe(0);
      expect(kinds.map(({ model, kind, run: count, equal }) => `${model} ${kind} ${equal} of ${count}`)).toEqual(
        ["asymmetric", "buckets", "byt5", "gated-untied", "inner-dim", "mt5", "outliers", "relu-tied"].flatMap(
          (model) => [
            `${model} logits 4 of 4`,
            `${model} generate 68 of 68`,
            `${model} distribution 20 of 20`,
            `${model} labels 4 of 4`,
          ],
        ),
      );
      for (const { largestDifference } of kinds) expect(largestDifference).toBeLessThan(1e-4);
    });

    test("nothing is left out", () => {
      expect(run.report().notRun).toEqual([]);
    });
  },
);

test("at 8 bits it reports agreement and does not fail", async () => {
  const run = await golden(GOLDEN, "--json", "--bits", "8");
  expect(run.code).toBe(0);
  const { kinds } = run.report();
  const logits = kinds.filter(({ kind }) => kind === "logits");
  // Rounding shows, and stays small even where two channels are 60 times the rest.
  for (const { largestDifference } of logits) {
    expect(largestDifference).toBeGreaterThan(1e-4);
    expect(largestDifference).toBeLessThan(0.1);
  }
});

describe("a reference that differs", () => {
  test("one id: exit code 1, and the mismatch is counted", async () => {
    const dir = await copyOf("relu-tied");
    await changeJson(join(dir, "relu-tied/expected.json"), ({ cases }) => {
      cases.find(({ kind }: { kind: string }) => kind === "generate").sequences[0].ids[0] ^= 2;
    });
    const run = await golden(dir, "--json");
    expect(run.code).toBe(1);
    expect(run.report()).toMatchObject({ mismatches: 1 });
    expect((await golden(dir, "--json", "--bits", "8")).code).toBe(0);
  });

  test("one weight: the logits show it", async () => {
    const dir = await copyOf("relu-tied");
    const path = join(dir, "relu-tied/model.safetensors");
    const bytes = await readFile(path);
    const header = 8 + Number(bytes.readBigUInt64LE());
    for (let at = header; at < bytes.length; at += 4000) bytes.writeFloatLE(bytes.readFloatLE(at) * 1.5, at);
    await writeFile(path, bytes);
    const run = await golden(dir, "--json");
    expect(run.code).toBe(1);
    expect(run.report().kinds.find(({ kind }) => kind === "logits")?.equal).toBeLessThan(4);
  });
});

describe("kinds, parameters and model types that are not known", () => {
  test("are listed as not run, and do not fail", async () => {
    const dir = await copyOf("relu-tied");
    await changeJson(join(dir, "relu-tied/expected.json"), (json) => {
      const [logits] = json.cases;
      const diverse = json.cases.find(({ name }: { name: string }) => name === "beam4");
      diverse.params.diversity_penalty = 0.5;
      json.cases = [{ kind: "telepathy", input: 0 }, logits, diverse];
    });
    await cp(join(GOLDEN, "buckets"), join(dir, "bart"), { recursive: true });
    await changeJson(join(dir, "bart/config.json"), (config) => {
      config.model_type = "bart";
    });
    const run = await golden(dir, "--json");
    expect(run.code).toBe(0);
    const { notRun, kinds } = run.report();
    expect(notRun).toContainEqual({ model: "relu-tied", what: expect.stringContaining("telepathy"), cases: 1 });
    expect(notRun).toContainEqual({
      model: "relu-tied",
      what: expect.stringContaining("diversity_penalty"),
      cases: 1,
    });
    expect(notRun).toContainEqual({ model: "bart", what: expect.stringContaining("bart"), cases: expect.any(Number) });
    expect(kinds).toHaveLength(1);
  });
});

describe("a malformed reference is a clear error", () => {
  test.each([
    ["no JSON", "{", /expected\.json.*JSON/],
    ["no cases", '{"inputs":[[1]]}', /expected\.json.*cases/],
    [
      "an input that is not there",
      '{"inputs":[[1]],"cases":[{"kind":"logits","input":3,"decoder_ids":[0]}]}',
      /input 3/,
    ],
  ])("%s", async (_, text, message) => {
    const dir = await copyOf("relu-tied");
    await writeFile(join(dir, "relu-tied/expected.json"), text);
    const run = await golden(dir);
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/^E_INPUT/m);
    expect(run.stderr).toMatch(message);
  });

  test("a folder without models", async () => {
    const run = await golden(await temporaryFolder());
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/E_INPUT.*no model folder/);
  });
});
