/** Makes one script of this folder's sources, as a module that the gateway serves it from; `npm ci` runs it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** @returns JavaScript for browsers that know `light-dark()`, which the page's style needs */
export async function bundleConsole(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [at("main.ts")],
    bundle: true,
    minify: true,
    format: "esm",
    target: ["chrome123", "firefox120", "safari17.5"],
    write: false,
    logLevel: "error",
  });
  return outputFiles[0]?.text ?? "";
}

if (import.meta.main) {
  mkdirSync(at("build"), { recursive: true });
  const script = JSON.stringify(await bundleConsole());
  writeFileSync(at("build/script.ts"), `/** Made by build.ts. */\nexport const SCRIPT: string = ${script};\n`);
}
