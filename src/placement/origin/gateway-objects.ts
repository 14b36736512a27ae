/** The bucket's models and adapters by way of the gateway, for an origin without credentials of its own. */
import { type GatewayClient, Refused } from "../../jobs/origin/gateway-client.ts";
import type { Store } from "../../store/store.ts";

/** Somebody waits for the answer: a gateway that is away for long is not waited for. */
const PATIENCE_MS = 5_000;

export function gatewayObjects(client: GatewayClient): Store {
  return {
    description: client.url,
    async get(key) {
      try {
        return (await client.send("GET", `/internal/objects/${key}`, null, { patienceMs: PATIENCE_MS })).body;
      } catch (error) {
        if (error instanceof Refused && error.reason === "not_found") return null;
        throw error;
      }
    },
  };
}
