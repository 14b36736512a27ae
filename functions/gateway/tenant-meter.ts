/** Counts, exactly, what one tenant uses now: there is one object a tenant. */
import { DurableObject } from "cloudflare:workers";
import type { GatewayBindings } from "./bindings.ts";

export class TenantMeter extends DurableObject<GatewayBindings> {}
