/** The kit as a library, for Node, Deno and Bun: packages from folders too, and a default model that comes along. */
import { fileURLToPath } from "node:url";
import { useRuntime } from "./from-pretrained.ts";
import { loadKernels } from "./kernels/node.ts";
import { PACKAGE_ROOT } from "./package-root.ts";
import { FolderStore } from "./store/folder.ts";

export * from "./library.ts";
export {
  type FitOptions,
  type PairsSource,
  type PretrainOptions,
  type RunEvent,
  T5,
  type TrainingPair,
} from "./trainable.ts";
export { FolderStore };

/** The packaged default model: translation, summaries and classification, small enough to come with the kit. */
export const DEFAULT_PACKAGE = fileURLToPath(new URL("model-split/default", PACKAGE_ROOT));

useRuntime({
  loadKernels: () => loadKernels(),
  openFolder: async (path) => new FolderStore(path.startsWith("file:") ? fileURLToPath(path) : path),
  defaultPackage: DEFAULT_PACKAGE,
});
