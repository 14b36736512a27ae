/** Builds the kernel modules: both of inference from one AssemblyScript source, and the trainer's; `npm ci` runs it. */
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { main } from "assemblyscript/asc";

const entry = (name: string) => fileURLToPath(new URL(`./assembly/${name}.ts`, import.meta.url));
const outDir = fileURLToPath(new URL("./build/", import.meta.url));

/** 4 GB: what addresses of 32 bits reach. */
const MOST_PAGES = "65536";
const MODULES: readonly { name: string; source: string; flags: readonly string[] }[] = [
  { name: "relaxed", source: entry("index"), flags: ["--enable", "simd,relaxed-simd"] },
  { name: "plain", source: entry("index"), flags: ["--enable", "simd"] },
  {
    name: "training",
    source: entry("training"),
    flags: ["--enable", "simd,threads", "--sharedMemory", "--maximumMemory", MOST_PAGES],
  },
];

mkdirSync(outDir, { recursive: true });
for (const { name, source, flags } of MODULES) {
  const { error, stderr } = await main([
    source,
    "--outFile",
    `${outDir}${name}.wasm`,
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
    ...flags,
  ]);
  if (error) {
    console.error(stderr.toString());
    throw error;
  }
}
