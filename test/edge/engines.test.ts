/** One setting chooses the engine of a deployment: the other one is not in its bundle, and both give one answer. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { Kit } from "./kit.ts";

const DECODER = fileURLToPath(new URL("../../functions/decoder/", import.meta.url));
const WRANGLER = fileURLToPath(new URL("../../node_modules/wrangler/bin/wrangler.js", import.meta.url));
const START_MS = 90_000;

async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-engines-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

test("edge-t5 start --engine onnx answers as the simd engine does", { timeout: START_MS }, async () => {
  const kit = await Kit.start(await scratch(), ["--engine", "onnx"]);
  onTestFinished(async () => void (await kit.stop()));
  const response = await kit.complete({
    model: "default",
    prompt: ["translate English to German: The house is old.", "translate English to French: I am hungry."],
  });
  const { choices } = (await response.json()) as { choices: { text: string }[] };
  expect(choices.map(({ text }) => text)).toEqual(["Das Haus ist alt.", "J'ai faim."]);
  const { encoder, decoder } = await kit.health();
  expect([encoder, decoder]).toEqual([
    expect.objectContaining({ engine: "onnx" }),
    expect.objectContaining({ engine: "onnx" }),
  ]);
});

/** The WASM modules in a decoder's bundle, by size in megabytes, and its code. */
async function bundle(engine: "simd" | "onnx"): Promise<{ wasm: number[]; code: string }> {
  const dir = await scratch();
  const toml = await readFile(join(DECODER, "wrangler.toml"), "utf8");
  const config = join(DECODER, `wrangler.test-${engine}.toml`);
  await writeFile(config, toml.replace("engines/simd/worker.ts", `engines/${engine}/worker.ts`));
  onTestFinished(() => rm(config, { force: true }));
  await promisify(execFile)(process.execPath, [WRANGLER, "deploy", "--dry-run", "-c", config, "--outdir", dir], {
    env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
  });
  const files = await readdir(dir);
  const wasm = files.filter((file) => file.endsWith(".wasm"));
  const sizes = await Promise.all(wasm.map(async (file) => (await stat(join(dir, file))).size / 1e6));
  return { wasm: sizes, code: await readFile(join(dir, "index.js"), "utf8") };
}

test("a bundle holds one engine", { timeout: START_MS }, async () => {
  const simd = await bundle("simd");
  expect(simd.wasm).toHaveLength(2);
  for (const megabytes of simd.wasm) expect(megabytes).toBeLessThan(0.1);
  expect(simd.code).not.toContain("onnxruntime");
  const onnx = await bundle("onnx");
  expect(onnx.wasm).toHaveLength(1);
  expect(onnx.wasm[0]).toBeGreaterThan(10);
  expect(onnx.code).not.toContain("SimdDecoder");
});
