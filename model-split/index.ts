/** Offline: checkpoint → quantize → split → package, and a look into packages. Runs in Node. */
export { type BlobState, type Inspection, inspectPackage } from "./inspect.ts";
export type { Bits } from "./layout.ts";
export { type SplitOptions, type SplitProgress, type SplitResult, splitCheckpoint } from "./split.ts";
