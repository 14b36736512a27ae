/** Loads the kernel modules by HTTP, from where this file came; bundlers take them along as assets. */
import { chooseKernels, type KernelModule } from "./index.ts";

export async function fetchKernels(): Promise<KernelModule> {
  const plain = await WebAssembly.compileStreaming(fetch(new URL("./build/plain.wasm", import.meta.url)));
  try {
    const relaxed = await WebAssembly.compileStreaming(fetch(new URL("./build/relaxed.wasm", import.meta.url)));
    return chooseKernels({ relaxed, plain });
  } catch (error) {
    // A browser without relaxed SIMD.
    if (error instanceof WebAssembly.CompileError) return chooseKernels({ plain });
    throw error;
  }
}
