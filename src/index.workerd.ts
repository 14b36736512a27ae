/** The kit as a library, for Cloudflare Workers: kernels by import, packages from R2. */
import { useRuntime } from "./from-pretrained.ts";
import { kernels } from "./kernels/workerd.ts";

export * from "./library.ts";

useRuntime({ loadKernels: async () => kernels });
