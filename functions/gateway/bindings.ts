import type { Caller } from "../../src/tenancy/caller.ts";
import type { ObservedEnv } from "../shared/observe.ts";
import type { TenantMeter } from "./tenant-meter.ts";

/** What the gateway is given; see wrangler.toml. */
export interface GatewayBindings {
  SHARDS: R2Bucket;
  ENCODER: Fetcher;
  DECODER: Fetcher;
  /** Reads files; without it, tasks take texts and rows alone. */
  READER?: Fetcher;
  /** Tenants, keys, tasks, prices, the ledger: functions/gateway/migrations. */
  DB: D1Database;
  /** Usage events on their way to the ledger. */
  USAGE: Queue<unknown>;
  /** Jobs that an origin should be told of. */
  JOBS: Queue<unknown>;
  /** One object a tenant. */
  TENANTS: DurableObjectNamespace<TenantMeter>;
  /** Secret: what the control plane is asked with. */
  ADMIN_TOKEN: string;
  /** Secret: where it is set, it opens `/metrics`, as the admin's token does. */
  METRICS_TOKEN?: string;
  /** Secret: API keys are stored as HMAC-SHA-256 under it. */
  KEY_SECRET: string;
  /** Secret: where it is set, usage goes to Stripe as meter events. */
  STRIPE_SECRET_KEY?: string;
  /** Names of Stripe's meters for input and output tokens; the same name: one meter for both. */
  STRIPE_INPUT_METER?: string;
  STRIPE_OUTPUT_METER?: string;
  STRIPE_TRAINING_METER?: string;
  /** In place of Stripe's own server, in tests. */
  STRIPE_API_BASE?: string;
  /** Secret: what gateway and origin sign with; without it nothing of an origin's is taken. */
  ORIGIN_SECRET?: string;
  /**
   * Where the origin is told of jobs, and answers what is too heavy for the edge; without it, it asks for jobs itself, and
   * every request runs at the edge.
   */
  ORIGIN_URL?: string;
  /** A model to load from the first request on; `edge-t5 workers` sets it. */
  PRELOAD?: string;
  MAX_PROMPT_TOKENS: number;
  MAX_NEW_TOKENS: number;
  MAX_SEQUENCES: number;
  /** What the edge is spared (src/placement/rule.ts). */
  EDGE_CPU_MS: number;
  EDGE_INPUTS: number;
  EDGE_BEAM_TOKENS: number;
  /** As MAX_…, of the origin; it may be silent for so long, before its first token and between tokens. */
  ORIGIN_MAX_PROMPT_TOKENS: number;
  ORIGIN_MAX_NEW_TOKENS: number;
  ORIGIN_MAX_SEQUENCES: number;
  ORIGIN_PATIENCE_MS: number;
  MAX_BODY_BYTES: number;
  /** Of a task's file; as the reader's. */
  MAX_DOCUMENT_BYTES: number;
  /** Of one file. */
  MAX_FILE_BYTES: number;
  /** Quotas of a tenant that has none of its own: bytes of files, jobs at once, jobs that wait. */
  FILE_BYTES: number;
  JOBS_RUNNING: number;
  JOBS_WAITING: number;
}

export interface GatewayEnv {
  Bindings: GatewayBindings;
  Variables: ObservedEnv["Variables"] & {
    /** Who asks, on routes that need a key. */
    caller: Caller;
  };
}
