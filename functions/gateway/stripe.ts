/** Stripe's meter events, where STRIPE_SECRET_KEY is set. */
import { type FlushResult, flushStripe, type StripeSettings } from "../../src/metering/stripe.ts";
import { errorFields, log } from "../../src/observability/log.ts";
import type { GatewayBindings } from "./bindings.ts";

/** Requests' usage that one invocation sends: two of a Worker's subrequests each, and D1's. */
const REQUESTS_A_RUN = 200;

/** @returns null where Stripe is off */
export function stripeSettings(env: GatewayBindings): StripeSettings | null {
  if (!env.STRIPE_SECRET_KEY) return null;
  return {
    secretKey: env.STRIPE_SECRET_KEY,
    inputMeter: env.STRIPE_INPUT_METER || "edge_t5_input_tokens",
    outputMeter: env.STRIPE_OUTPUT_METER || "edge_t5_output_tokens",
    trainingMeter: env.STRIPE_TRAINING_METER || "edge_t5_training_tokens",
    apiBase: env.STRIPE_API_BASE,
  };
}

/**
 * Sends what is due; never throws: what was not sent stays in the outbox.
 *
 * @param everything also what waits for its next try
 * @returns null where Stripe is off
 */
export async function sendToStripe(env: GatewayBindings, everything = false): Promise<FlushResult | null> {
  const settings = stripeSettings(env);
  if (!settings) return null;
  try {
    const result = await flushStripe(env.DB, settings, { now: Date.now, limit: REQUESTS_A_RUN, everything });
    if (result.failed > 0) {
      log("error", "stripe_not_sent", { sent: result.sent, failed: result.failed });
    }
    return result;
  } catch (error) {
    log("error", "stripe_not_sent", { error: errorFields(error) });
    return { sent: 0, failed: 0, lastError: String(error) };
  }
}
