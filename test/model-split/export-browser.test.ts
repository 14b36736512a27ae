/** An export in transformers.js in a browser, over HTTP. */
import { createReadStream, existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { expect, onTestFinished, test } from "vitest";
import { exportForTransformersJs } from "../../model-split/index.ts";
import { DEFAULT_PACKAGE, T5 } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
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

/** Folders by the first part of a path. */
async function serve(folders: Record<string, string>): Promise<string> {
  const types: Record<string, string> = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
  };
  const server: Server = createServer((request, response) => {
    const [, folder = "", ...rest] = new URL(request.url ?? "/", "http://localhost").pathname.split("/");
    if (folder === "") return response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    const path = join(folders[folder] ?? "/nowhere", ...rest);
    const file = createReadStream(path);
    file.on("error", () => response.writeHead(404).end());
    file.on("open", () => {
      response.writeHead(200, { "content-type": types[extname(path)] ?? "application/octet-stream" });
      file.pipe(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.skipIf(!existsSync(CHROMIUM))("answers in Chromium as the kit does", async () => {
  const models = await temporaryFolder();
  await exportForTransformersJs(new FolderStore(DEFAULT_PACKAGE), join(models, "model"));
  const address = await serve({ models, library: LIBRARY, runtime: RUNTIME });
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
