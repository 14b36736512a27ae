/** The public Worker: who asks, what for and within which limits; the models are behind it, in private Workers. */
import { app } from "./app.ts";
import type { GatewayBindings } from "./bindings.ts";

export { TenantMeter } from "./tenant-meter.ts";

export default {
  fetch: app.fetch,
} satisfies ExportedHandler<GatewayBindings, unknown>;
