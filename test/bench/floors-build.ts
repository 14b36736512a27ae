/** Builds the modules of the floors, one with relaxed SIMD and one without. */
import { fileURLToPath } from "node:url";
import { main } from "assemblyscript/asc";

/** Where the built modules lie; the workerd bench imports them from there. */
export const FLOORS_DIR = fileURLToPath(new URL("./build/", import.meta.url));

export async function buildFloors(): Promise<void> {
  for (const [name, features] of Object.entries({ relaxed: "simd,relaxed-simd", plain: "simd" })) {
    const source = fileURLToPath(new URL("./assembly/floors.ts", import.meta.url));
    const options = ["-O3", "--noAssert", "--runtime", "stub", "--importMemory", "--initialMemory", "0"];
    const { error, stderr } = await main([
      source,
      "--outFile",
      `${FLOORS_DIR}floors-${name}.wasm`,
      ...options,
      "--enable",
      features,
    ]);
    if (error) throw new Error(stderr.toString());
  }
}
