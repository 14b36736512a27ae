/** Loads the kernel modules from disk, for Node. Workers import them statically instead. */
import { readFile } from "node:fs/promises";
import { EdgeT5Error } from "../errors.ts";
import { chooseKernels, type KernelModule, type KernelName } from "./index.ts";

/** @param name which module to use; without it the one that suits this machine */
export async function loadKernels(name?: KernelName): Promise<KernelModule> {
  const compile = async (which: KernelName) => {
    let bytes: Buffer;
    try {
      bytes = await readFile(new URL(`./build/${which}.wasm`, import.meta.url));
    } catch (cause) {
      throw new EdgeT5Error("E_KERNELS", `The ${which} kernels are not built. Run: npm run build.`, { cause });
    }
    return WebAssembly.compile(new Uint8Array(bytes));
  };
  if (name) return { name, module: await compile(name) };
  const plain = await compile("plain");
  try {
    return chooseKernels({ relaxed: await compile("relaxed"), plain });
  } catch (error) {
    // A runtime without relaxed SIMD refuses to compile that module; anything else is a fault of ours.
    if (error instanceof WebAssembly.CompileError) return chooseKernels({ plain });
    throw error;
  }
}
