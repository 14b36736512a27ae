/** The kit as a library, for browsers: packages come by HTTP. */
import { useRuntime } from "./from-pretrained.ts";
import { fetchKernels } from "./kernels/browser.ts";

export * from "./library.ts";

useRuntime({ loadKernels: fetchKernels });
