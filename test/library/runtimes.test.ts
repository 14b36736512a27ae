/** `import { T5 } from "edge-t5"`, `import { readContent } from "edge-t5/readers"`: the compiled package, installed in a project, in every runtime that it is for. */
import { execFile } from "node:child_process";
import { createReadStream, existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DEFAULT_PACKAGE } from "../../src/index.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BIN = join(ROOT, "node_modules/.bin");

/** Debian's; `.ci/run` installs it. */
const CHROMIUM = "/usr/bin/chromium";

const EXPECTED = {
  texts: ["Das Haus ist alt.", "J'ai faim."],
  streamed: "Das Haus ist alt.",
  pieces: expect.toSatisfy((pieces: number) => pieces > 2),
  label: "libs",
  sum: 1,
  stopped: "Das Haus ist",
  tokens: expect.arrayContaining([1]),
};

const PDF = join(ROOT, "test/fixtures/readers/encrypted/aes-256.pdf");

const EXPECTED_OF_FILES = {
  kind: "html",
  rows: [["north", "flour"]],
  blocks: ["The mill", "It turns."],
  pdf: "The mill by the river turns again. Nobody needs a key to read of it.",
  refused: "E_TOO_LARGE",
};

let project: string;
let server: Server;
let address: string;

/** A project that has the kit as a dependency, and a web server for it and for the packaged model. */
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "edge-t5-project-"));
  await mkdir(join(project, "node_modules"));
  await symlink(ROOT, join(project, "node_modules/edge-t5"));
  await writeFile(join(project, "package.json"), JSON.stringify({ type: "module", dependencies: { "edge-t5": "*" } }));
  for (const file of ["everywhere.js", "main.js", "readers.js", "readers-main.js"]) {
    await copyFile(fileURLToPath(new URL(file, import.meta.url)), join(project, file));
  }
  const types: Record<string, string> = { ".js": "text/javascript", ".html": "text/html", ".wasm": "application/wasm" };
  server = createServer((request, response) => {
    const path = (request.url ?? "").replace(/^\/model\//, "");
    const isModel = path !== request.url;
    const file = createReadStream(isModel ? join(DEFAULT_PACKAGE, path) : join(project, "web", path));
    file.on("error", () => response.writeHead(404).end());
    file.on("open", () => {
      response.writeHead(200, { "content-type": types[extname(path)] ?? "application/octet-stream" });
      file.pipe(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server?.close();
  await rm(project, { recursive: true, force: true });
});

describe.each([
  ["Node", [process.execPath]],
  ["Deno", [join(BIN, "deno"), "run", "-A", "--node-modules-dir=manual", "--no-lock"]],
  ["Bun", [join(BIN, "bun")]],
])("%s", (_, [command = "", ...args]) => {
  const run = (...source: string[]) => runFile("main.js", ...source);
  const runFile = async (...file: string[]) => {
    const { stdout } = await promisify(execFile)(command, [...args, ...file], { cwd: project });
    return JSON.parse(stdout);
  };

  test("the packaged model", async () => {
    expect(await run()).toEqual(EXPECTED);
  });

  test("a folder, and an address", async () => {
    expect(await run(DEFAULT_PACKAGE)).toEqual(EXPECTED);
    expect(await run(`${address}/model`)).toEqual(EXPECTED);
  });

  test("files to contents", async () => {
    expect(await runFile("readers-main.js", PDF)).toEqual(EXPECTED_OF_FILES);
  });
});

test.skipIf(!existsSync(CHROMIUM))("Chromium, bundled", async () => {
  const web = join(project, "web");
  await build({
    stdin: {
      contents: `
        import { everywhere } from "./everywhere.js";
        import { readers } from "./readers.js";
        Object.assign(globalThis, { everywhere, readers });
      `,
      resolveDir: project,
    },
    bundle: true,
    format: "esm",
    platform: "browser",
    outfile: join(web, "app.js"),
    logLevel: "error",
  });
  await mkdir(join(web, "build"));
  for (const name of ["plain", "relaxed"]) {
    await copyFile(join(ROOT, `dist/src/kernels/build/${name}.wasm`), join(web, `build/${name}.wasm`));
  }
  await writeFile(join(web, "index.html"), '<!doctype html><script type="module" src="app.js"></script>');
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(`${address}/index.html`);
    await page.waitForFunction("globalThis.everywhere");
    expect(await page.evaluate(`everywhere("${address}/model")`)).toEqual(EXPECTED);
    expect(await page.evaluate("everywhere().catch((error) => error.code)")).toBe("E_INPUT");
    expect(await page.evaluate('everywhere("./folder").catch((error) => error.code)')).toBe("E_INPUT");
    const pdf = [...(await readFile(PDF))];
    expect(await page.evaluate(`readers(Uint8Array.from(${JSON.stringify(pdf)}))`)).toEqual(EXPECTED_OF_FILES);
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
  }
});
