/** API keys, as OpenAI's and Hugging Face's clients send them: `Authorization: Bearer …`. */
import { createMiddleware } from "hono/factory";
import { ApiError } from "../../src/api-error.ts";
import { authenticate } from "../../src/tenancy/authenticate.ts";
import type { Scope } from "../../src/tenancy/caller.ts";
import type { GatewayEnv } from "./bindings.ts";

/**
 * Lets through who has a key, with one of the scopes where some are named, and sets `c.var.caller`.
 *
 * @throws ApiError 401 `invalid_api_key`, the same whatever is wrong with it; 403 `insufficient_scope`
 */
export function requireKey(...scopes: readonly Scope[]) {
  return createMiddleware<GatewayEnv>(async (c, next) => {
    if (!c.get("caller")) {
      const { DB: db, KEY_SECRET: secret } = c.env;
      const caller = await authenticate(c.req.header("authorization"), { db, secret, now: Date.now() });
      if (!caller) {
        throw new ApiError(401, "invalid_api_key", "A valid API key is needed here: Authorization: Bearer et5_…", {
          headers: { "www-authenticate": "Bearer" },
        });
      }
      c.set("caller", caller);
      c.get("line").add({ tenant: caller.tenant, key: caller.key });
    }
    const own = c.get("caller").scopes;
    if (scopes.length > 0 && !scopes.some((scope) => own.includes(scope))) {
      throw new ApiError(
        403,
        "insufficient_scope",
        `This needs a key with the scope ${scopes.join(" or ")}. Use another key.`,
      );
    }
    await next();
  });
}
