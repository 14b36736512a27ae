/** `edge-t5 golden --training` on PyTorch's and transformers' own numbers. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { GoldenReport } from "../../src/golden/run.ts";
import { edgeT5 } from "../cli/process.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";

const GOLDEN = fileURLToPath(new URL("../golden", import.meta.url));

test("losses, gradients and ten steps of each optimizer are those of the references", async () => {
  const { code, stdout } = await edgeT5(["golden", GOLDEN, "--training", "--json"]);
  expect(code).toBe(0);
  const { kinds, mismatches } = JSON.parse(stdout) as GoldenReport;
  expect(mismatches).toBe(0);
  expect(kinds.map(({ model, kind, run, equal }) => `${model} ${kind} ${equal} of ${run}`)).toEqual([
    "gated-untied loss 3 of 3",
    "gated-untied gradients 53 of 53",
    "relu-tied loss 3 of 3",
    "relu-tied gradients 48 of 48",
    "relu-tied adamw 57 of 57",
    "relu-tied adafactor 57 of 57",
    "relu-tied adafactor_relative 57 of 57",
  ]);
});

test("a reference that differs is a mismatch and exit code 1", async () => {
  const dir = await temporaryFolder();
  await cp(join(GOLDEN, "gated-untied"), join(dir, "gated-untied"), { recursive: true });
  await cp(join(GOLDEN, "training/gated-untied"), join(dir, "training/gated-untied"), { recursive: true });
  const path = join(dir, "training/gated-untied/batch.json");
  const batch = JSON.parse(await readFile(path, "utf8"));
  batch.gradient_norm *= 1.001;
  await writeFile(path, JSON.stringify(batch));
  const { code, stdout } = await edgeT5(["golden", dir, "--training", "--json"]);
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ mismatches: 1 });
});

test("a folder without references, and a malformed one, are clear errors", async () => {
  const dir = await temporaryFolder();
  expect(await edgeT5(["golden", dir, "--training"])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^E_INPUT: .*no training reference/m),
  });
  await writeFile(join(dir, "batch.json"), '{"input_ids":[[1]]}');
  expect(await edgeT5(["golden", dir, "--training"])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^E_INPUT: .*batch\.json: attention_mask/m),
  });
});
