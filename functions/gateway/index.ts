/** The public Worker: who asks, what for and within which limits; the models are behind it, in private Workers. */
import { app } from "./app.ts";
import type { GatewayBindings } from "./bindings.ts";
import { sweep } from "./jobs.ts";
import { queue } from "./queue.ts";
import { sendToStripe } from "./stripe.ts";

export { TenantMeter } from "./tenant-meter.ts";

export default {
  fetch: app.fetch,
  queue,
  async scheduled(_, env) {
    await Promise.all([sendToStripe(env), sweep(env)]);
  },
} satisfies ExportedHandler<GatewayBindings, unknown>;
