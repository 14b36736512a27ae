/** The kernel modules of a Worker: workerd compiles no WASM at run time, so they are imported. */
import plain from "./build/plain.wasm";
import relaxed from "./build/relaxed.wasm";
import { chooseKernels } from "./index.ts";

export const kernels = chooseKernels({ relaxed, plain });
