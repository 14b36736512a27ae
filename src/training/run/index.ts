/** @module Training runs: a folder with settings, metrics, checkpoints and the best of them, that can be killed and resumed. */
export type { BaseRequest } from "./base.ts";
export { readMixture } from "./mixture-file.ts";
export { OPTIMIZERS, type TrainingRequest } from "./plan.ts";
export type { Evaluated, RunEnd } from "./record.ts";
export {
  type RunContext,
  type RunEvent,
  type RunRequest,
  resumeRun,
  startRun,
} from "./run.ts";
export {
  type DataSettings,
  DENOISERS,
  dataSchema,
  parseSettings,
  readRunFile,
  type TaskSettings,
  taskSchema,
} from "./settings.ts";
