/** Offline: checkpoint → quantize → split → package, a look into packages, and their way to other libraries. Runs in Node. */
export { type ExportOptions, type ExportProgress, type ExportResult, exportForTransformersJs } from "./export.ts";
export { type BlobState, type Inspection, inspectPackage } from "./inspect.ts";
export type { Bits } from "./layout.ts";
export { type SplitOptions, type SplitProgress, type SplitResult, splitCheckpoint } from "./split.ts";
