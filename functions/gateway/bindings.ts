import type { Caller } from "../../src/tenancy/caller.ts";
import type { ObservedEnv } from "../shared/observe.ts";
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
  /** In place of Stripe's own server, in tests. */
  STRIPE_API_BASE?: string;
  /** A model to load from the first request on; `edge-t5 workers` sets it. */
  PRELOAD?: string;
  MAX_PROMPT_TOKENS: number;
  MAX_NEW_TOKENS: number;
  MAX_SEQUENCES: number;
  MAX_BODY_BYTES: number;
}

export interface GatewayEnv {
  Bindings: GatewayBindings;
  Variables: ObservedEnv["Variables"] & {
    /** Who asks, on routes that need a key. */
    caller: Caller;
  };
}
