/** Puts the kernel modules beside their compiled loaders. */
import { cpSync } from "node:fs";
import { fileURLToPath } from "node:url";

const from = fileURLToPath(new URL("./build/", import.meta.url));
const to = fileURLToPath(new URL("../../dist/src/kernels/build/", import.meta.url));
cpSync(from, to, { recursive: true });
