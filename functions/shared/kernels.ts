/** The kernel modules of a Worker: workerd compiles no WASM at run time, so they are imported. */
import plain from "../../src/kernels/build/plain.wasm";
import relaxed from "../../src/kernels/build/relaxed.wasm";
import { chooseKernels } from "../../src/kernels/index.ts";

export const kernels = chooseKernels({ relaxed, plain });
