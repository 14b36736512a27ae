/** Builds the kernel modules: both of inference from one AssemblyScript source, and the trainer's; `npm ci` runs it. */
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { main } from "assemblyscript/asc";

const entry = (name: string) => fileURLToPath(new URL(`./assembly/${name}.ts`, import.meta.url));
const outDir = fileURLToPath(new URL("./build/", import.meta.url));

/** 4 GB: what addresses of 32 bits reach. */
const MOST_PAGES = "65536";
const MODULES: readonly { name: string; source: string; flags: readonly string[]; level?: string }[] = [
  { name: "relaxed", source: entry("index"), flags: ["--enable", "simd,relaxed-simd"] },
  // At its third level Binaryen moves instructions to where their results are used: V8 runs out of vector registers, and the
  // layer behind relu takes a tenth longer.
  { name: "plain", source: entry("index"), flags: ["--enable", "simd"], level: "-O2" },
  {
    name: "training",
    source: entry("training"),
    flags: ["--enable", "simd,threads", "--sharedMemory", "--maximumMemory", MOST_PAGES],
  },
];

mkdirSync(outDir, { recursive: true });
for (const { name, source, flags, level = "-O3" } of MODULES) {
  const { error, stderr } = await main([
    source,
    "--outFile",
    `${outDir}${name}.wasm`,
    level,
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
