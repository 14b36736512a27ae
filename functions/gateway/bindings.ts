import type { Caller } from "../../src/tenancy/caller.ts";
import type { TenantMeter } from "./tenant-meter.ts";

/** What the gateway is given; see wrangler.toml. */
export interface GatewayBindings {
  SHARDS: R2Bucket;
  ENCODER: Fetcher;
  DECODER: Fetcher;
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
  /** Secret: API keys are stored as HMAC-SHA-256 under it. */
  KEY_SECRET: string;
  /** Secret: where it is set, usage goes to Stripe as meter events. */
  STRIPE_SECRET_KEY?: string;
  /** Names of Stripe's meters for input and output tokens; the same name: one meter for both. */
  STRIPE_INPUT_METER?: string;
  STRIPE_OUTPUT_METER?: string;
  /** In place of Stripe's own server, in tests. */
  STRIPE_API_BASE?: string;
  /** Secret: what gateway and origin sign with; without it nothing of an origin's is taken. */
  ORIGIN_SECRET?: string;
  /** Where the origin is told of jobs; without it, it asks for them itself. */
  ORIGIN_URL?: string;
  /** A model to load from the first request on; `edge-t5 workers` sets it. */
  PRELOAD?: string;
  MAX_PROMPT_TOKENS: number;
  MAX_NEW_TOKENS: number;
  MAX_SEQUENCES: number;
  MAX_BODY_BYTES: number;
  /** Of one file. */
  MAX_FILE_BYTES: number;
  /** Quotas of a tenant that has none of its own: bytes of files, jobs at once, jobs that wait. */
  FILE_BYTES: number;
  JOBS_RUNNING: number;
  JOBS_WAITING: number;
}

export interface GatewayEnv {
  Bindings: GatewayBindings;
  Variables: {
    requestId: string;
    /** Who asks, on routes that need a key. */
    caller: Caller;
  };
}
