/** What the gateway is given; see wrangler.toml. */
export interface GatewayBindings {
  SHARDS: R2Bucket;
  ENCODER: Fetcher;
  DECODER: Fetcher;
  MAX_PROMPT_TOKENS: number;
  MAX_NEW_TOKENS: number;
  MAX_SEQUENCES: number;
  MAX_BODY_BYTES: number;
}

export interface GatewayEnv {
  Bindings: GatewayBindings;
  Variables: { requestId: string };
}
