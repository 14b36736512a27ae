/** Builds both kernel modules from one AssemblyScript source; `npm ci` runs it. */
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { main } from "assemblyscript/asc";

const source = fileURLToPath(new URL("./assembly/index.ts", import.meta.url));
const outDir = fileURLToPath(new URL("./build/", import.meta.url));

mkdirSync(outDir, { recursive: true });
for (const [name, features] of Object.entries({ relaxed: "simd,relaxed-simd", plain: "simd" })) {
  const out = `${outDir}${name}.wasm`;
  const { error, stderr } = await main([
    source,
    "--outFile",
    out,
    "-O3",
    "--noAssert",
    "--runtime",
    "stub",
    "--importMemory",
    "--initialMemory",
    "0",
    // Below this address lie the module's few constants; the engine's plan begins above it.
    "--memoryBase",
    "64",
    "--enable",
    features,
  ]);
  if (error) {
    console.error(stderr.toString());
    throw error;
  }
}
