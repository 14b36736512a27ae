/** A kind of job: a function that does it from wherever its last checkpoint left it. */
import type { Checkpoint, ClaimedJob, Finish, NewCheckpoint, NewEvent, Used } from "../protocol.ts";
import type { JobStorage } from "./storage.ts";

/** What a job came further by: written as a whole, and once. */
export interface Commit {
  checkpoint: NewCheckpoint;
  usage?: readonly Used[];
  progress: object;
  events?: readonly NewEvent[];
}

export interface JobContext {
  readonly job: ClaimedJob;
  readonly storage: JobStorage;
  /**
   * Aborted when the job is cancelled, when its lease is lost, or when the origin stops: the reason says which. Who is
   * cancelled may still read and put what its ending needs.
   */
  readonly signal: AbortSignal;
  /** A folder of its own, removed when the job ends here. */
  readonly scratch: string;
  /** All checkpoints, oldest first; the last one is the job's own `checkpoint`. */
  checkpoints(): Promise<Checkpoint[]>;
  /** Keeps how far it has come. What is used is billed with it. @throws StaleLease when another origin has the job */
  commit(commit: Commit): Promise<void>;
  /** Tells what does not have to be kept, soon. */
  report(told: { progress?: object; events?: readonly NewEvent[] }): void;
}

export type Ending = Omit<Finish, "fence">;

/**
 * It may be called again for the same job, after any point of an earlier call: all that it does but commits must be without
 * effect, and what it commits the same each time.
 */
export type Runner = (context: JobContext) => Promise<Ending>;

/** Its tenant asked for its end. */
export class JobCancelled extends Error {}
/** Another origin has the job now, or it has ended. */
export class StaleLease extends Error {}
/** This process ends: the job is given back. */
export class OriginStopping extends Error {}
