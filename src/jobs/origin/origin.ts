/** An origin: claims jobs, one at a time, and runs them until they end, are cancelled, or are another's. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ApiError } from "../../api-error.ts";
import { EdgeT5Error } from "../../errors.ts";
import { errorFields, log } from "../../observability/log.ts";
import type { JobKind } from "../job.ts";
import type { ClaimedJob, Heartbeat, NewEvent } from "../protocol.ts";
import type { GatewayClient } from "./gateway-client.ts";
import {
  type Commit,
  type Ending,
  JobCancelled,
  type JobContext,
  OriginStopping,
  type Runner,
  StaleLease,
} from "./runner.ts";
import type { JobStorage } from "./storage.ts";

export interface OriginOptions {
  client: GatewayClient;
  runners: Partial<Record<JobKind, Runner>>;
  /** @param scratch a folder for what is fetched, removed when the job ends here */
  storageOf(job: ClaimedJob, scratch: string, signal: AbortSignal): JobStorage;
  /** How long a job stays this origin's without a word from it. */
  leaseSeconds: number;
  /** It asks for jobs this often, also when nobody tells it of one. */
  pollMs: number;
  log(event: OriginEvent): void;
}

export interface OriginEvent {
  event: "claimed" | "finished" | "cancelled" | "released" | "lost" | "unreached";
  job?: string;
  /** What came of it, or why. */
  detail?: string;
}

/** Of one message. */
const MOST_EVENTS = 200;
/** Heartbeats in the time of a lease. */
const BEATS = 4;
/** After a job that could not be done for now. */
const REST_MS = 2_000;

interface Running {
  id: string;
  /** Ends the work. */
  work: AbortController;
  /** Ends all that is done for the job here: the lease is lost, or this process ends. */
  over: AbortController;
}

export class Origin {
  readonly id = randomUUID();
  readonly #options: OriginOptions;
  readonly #stopping = new AbortController();
  #running: Running | null = null;
  #draining: Promise<void> | null = null;
  /** Somebody told of a job since the last look. */
  #isWoken = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: OriginOptions) {
    this.#options = options;
  }

  /** The job that runs here. */
  get job(): string | null {
    return this.#running?.id ?? null;
  }

  start(): void {
    this.wake();
    this.#timer = setInterval(() => this.wake(), this.#options.pollMs);
  }

  /** There may be a job. */
  wake(): void {
    this.#isWoken = true;
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = null;
    });
  }

  /** @returns whether it runs here */
  cancel(job: string): boolean {
    if (this.#running?.id !== job) return false;
    this.#running.work.abort(new JobCancelled());
    return true;
  }

  /** Gives back what runs, for another origin to go on with. */
  async stop(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    this.#stopping.abort();
    this.#running?.over.abort(new OriginStopping());
    await this.#draining;
  }

  async #drain(): Promise<void> {
    const { client, runners, leaseSeconds, log } = this.#options;
    const { signal } = this.#stopping;
    while (this.#isWoken && !signal.aborted) {
      this.#isWoken = false;
      try {
        const kinds = Object.keys(runners) as JobKind[];
        const claim = { owner: this.id, lease_seconds: leaseSeconds, kinds };
        const job = await client.claim(claim, { patienceMs: 0, signal });
        if (!job) continue;
        this.#isWoken = true;
        log({ event: "claimed", job: job.id, detail: `lease ${job.fence}` });
        if (!(await this.#run(job))) await delay(REST_MS, undefined, { signal });
      } catch (error) {
        // The next look comes by itself.
        if (!signal.aborted) log({ event: "unreached", detail: (error as Error).message });
      }
    }
  }

  /** @returns false for a job that could not be done for now */
  async #run(job: ClaimedJob): Promise<boolean> {
    const { client, runners, storageOf, log } = this.#options;
    const work = new AbortController();
    const over = new AbortController();
    over.signal.addEventListener("abort", () => work.abort(over.signal.reason), { once: true });
    this.#running = { id: job.id, work, over };
    if (this.#stopping.signal.aborted) over.abort(new OriginStopping());
    const scratch = await mkdtemp(join(tmpdir(), "edge-t5-job-"));
    const lease = new Lease(client, job, this.#options.leaseSeconds, work, over);
    try {
      const runner = runners[job.kind];
      if (!runner) throw new Error(`There is no runner for ${job.kind}.`);
      const context: JobContext = {
        job,
        scratch,
        storage: storageOf(job, scratch, over.signal),
        signal: work.signal,
        checkpoints: () => client.checkpoints(job.id, job.fence),
        commit: (commit) => lease.commit(commit),
        report: (told) => lease.report(told),
      };
      const ending = await runner(context).catch((error: unknown) => endingOf(error, work.signal));
      if (ending) {
        const { events, ...untold } = lease.untold();
        const all = [...events, ...(ending.events ?? [])].slice(-MOST_EVENTS);
        await client.finish(job.id, { ...untold, ...ending, events: all, fence: job.fence });
        log({ event: ending.status === "cancelled" ? "cancelled" : "finished", job: job.id, detail: ending.status });
        return true;
      }
      return await this.#giveBack(job, work.signal.reason);
    } catch (error) {
      return await this.#giveBack(job, over.signal.reason ?? error);
    } finally {
      lease.end();
      this.#running = null;
      await rm(scratch, { recursive: true, force: true });
    }
  }

  /** @returns whether another job may be looked for at once */
  async #giveBack(job: ClaimedJob, why: unknown): Promise<boolean> {
    const { client, log } = this.#options;
    if (why instanceof StaleLease) {
      log({ event: "lost", job: job.id, detail: why.message });
      return true;
    }
    const detail = why instanceof OriginStopping ? "the origin stops" : (why as Error).message;
    // Who cannot be reached takes the job away when the lease is over.
    await client.release(job.id, job.fence).catch(() => {});
    log({ event: "released", job: job.id, detail });
    return false;
  }
}

/** How a job ends that threw. @returns null when it does not: it is another's, or is to be given back */
function endingOf(error: unknown, signal: AbortSignal): Ending | null {
  if (signal.aborted) return signal.reason instanceof JobCancelled ? { status: "cancelled" } : null;
  if (error instanceof StaleLease) throw error;
  // Storage and gateway come back; the job waits for them.
  if (error instanceof EdgeT5Error && error.code === "E_IO") throw error;
  if (error instanceof ApiError || error instanceof EdgeT5Error) {
    const code = error.code.replace(/^E_/, "").toLowerCase();
    const param = error instanceof ApiError ? error.param : null;
    return { status: "failed", error: { code, message: error.message, param } };
  }
  // Its details are for who runs the origin.
  log("error", "job_failed", { error: errorFields(error) });
  const message = "Something failed on the origin's side. Quote the job's id when you report it.";
  return { status: "failed", error: { code: "internal_error", message, param: null } };
}

/** The lease on a job that runs: prolonged by heartbeats, which tell what has happened. */
class Lease {
  readonly #client: GatewayClient;
  readonly #job: ClaimedJob;
  readonly #seconds: number;
  readonly #work: AbortController;
  readonly #over: AbortController;
  readonly #timer: NodeJS.Timeout;
  #progress: object | undefined;
  #events: NewEvent[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: GatewayClient, job: ClaimedJob, seconds: number, work: AbortController, over: AbortController) {
    this.#client = client;
    this.#job = job;
    this.#seconds = seconds;
    this.#work = work;
    this.#over = over;
    this.#timer = setInterval(() => void this.#beat(), (seconds * 1000) / BEATS);
  }

  report({ progress, events = [] }: { progress?: object; events?: readonly NewEvent[] }): void {
    if (progress) this.#progress = progress;
    this.#events.push(...events);
  }

  async commit({ checkpoint, usage = [], progress, events = [] }: Commit): Promise<void> {
    this.report({ progress, events });
    // What was told stays told, whatever comes of it: an event's name counts once.
    await this.#send({ checkpoint, usage: [...usage] }, {});
  }

  /** What goes with the job's end. */
  untold(): { progress?: Record<string, unknown>; events: NewEvent[] } {
    return { events: this.#events, ...(this.#progress && { progress: { ...this.#progress } }) };
  }

  end(): void {
    clearInterval(this.#timer);
  }

  async #beat(): Promise<void> {
    await this.#send({}, { patienceMs: 0 }).catch(() => {});
  }

  /** One after the other. */
  #send(more: Pick<Heartbeat, "checkpoint" | "usage">, sending: { patienceMs?: number }): Promise<void> {
    const sent = this.#last.then(() => this.#sendNow(more, sending));
    this.#last = sent.catch(() => {});
    return sent;
  }

  async #sendNow(more: Pick<Heartbeat, "checkpoint" | "usage">, sending: { patienceMs?: number }): Promise<void> {
    const events = this.#events.slice(0, MOST_EVENTS);
    const request: Heartbeat = {
      fence: this.#job.fence,
      lease_seconds: this.#seconds,
      events,
      ...(this.#progress && { progress: { ...this.#progress } }),
      ...more,
    };
    try {
      const { cancel } = await this.#client.heartbeat(this.#job.id, request, {
        ...sending,
        signal: this.#over.signal,
      });
      this.#events = this.#events.slice(events.length);
      if (cancel) this.#work.abort(new JobCancelled());
    } catch (error) {
      if (error instanceof StaleLease) this.#over.abort(error);
      throw error;
    }
  }
}
