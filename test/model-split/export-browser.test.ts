/** An export in transformers.js in a browser, over HTTP. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { expect, onTestFinished, test } from "vitest";
import { exportForTransformersJs } from "../../model-split/index.ts";
import { DEFAULT_PACKAGE, T5 } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { serve } from "../serve.ts";
import { temporaryFolder } from "./checkpoints.ts";

/** Debian's; `.ci/run` installs it. */
const CHROMIUM = "/usr/bin/chromium";
const LIBRARY = fileURLToPath(new URL("../../node_modules/@huggingface/transformers", import.meta.url));
/** The onnxruntime-web that it was built with. */
const RUNTIME = dirname(createRequire(join(LIBRARY, "package.json")).resolve("onnxruntime-web"));
const PAGE = `<!doctype html><script type="module">
import { env, pipeline } from "/library/dist/transformers.min.js";
env.allowLocalModels = true;
env.allowRemoteModels = false;
env.localModelPath = "/models/";
env.backends.onnx.wasm.wasmPaths = "/runtime/";
env.backends.onnx.wasm.numThreads = 1;
globalThis.answer = async (prompts) => {
  const generator = await pipeline("text2text-generation", "model");
  return (await generator(prompts, { max_new_tokens: 32 })).map(({ generated_text }) => generated_text);
};
</script>`;

test.skipIf(!existsSync(CHROMIUM))("answers in Chromium as the kit does", async () => {
  const models = await temporaryFolder();
  await exportForTransformersJs(new FolderStore(DEFAULT_PACKAGE), join(models, "model"));
  const { address, close } = await serve(PAGE, { models, library: LIBRARY, runtime: RUNTIME });
  onTestFinished(close);
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(address);
    await page.waitForFunction("globalThis.answer");
    const prompts = ["translate English to German: The house is old.", "classify package: a library for sockets"];
    const texts = await page.evaluate(`answer(${JSON.stringify(prompts)})`);
    const kit = await T5.fromPretrained();
    expect(texts).toEqual((await kit.generate(prompts, { max_new_tokens: 32 })).map(({ text }) => text));
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
  }
});
