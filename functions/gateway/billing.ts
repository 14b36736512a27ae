/** What the operator does for bills, below `/admin`: prices, dead letters, Stripe. */
import { Hono } from "hono";
import { listJson, parsePage } from "../../src/api/control-plane.ts";
import {
  deadLetterJson,
  listedPriceJson,
  newPrice,
  newPriceSchema,
  priceJson,
  stripeCustomerSchema,
} from "../../src/api/metering.ts";
import { ApiError } from "../../src/api-error.ts";
import { listDeadLetters, replayDeadLetter, replayDeadLetters } from "../../src/metering/dead-letters.ts";
import { addPrice, listPrices, withdrawPrice } from "../../src/metering/prices.ts";
import { setStripeCustomer, stripeBacklog } from "../../src/metering/stripe.ts";
import { pageOf } from "../../src/tenancy/database.ts";
import type { GatewayEnv } from "./bindings.ts";
import { readBody } from "./body.ts";
import { sendToStripe, stripeSettings } from "./stripe.ts";

export const billing = new Hono<GatewayEnv>();

billing.get("/prices", async (c) => {
  const { tenant, ...query } = c.req.query();
  const { limit, after } = parsePage(query);
  const prices = await listPrices(c.env.DB, tenant ?? null, { limit: limit + 1, after: Number(after ?? 0) || 0 });
  const page = pageOf(prices, limit, (price) => price);
  return c.json(listJson(page, (price) => listedPriceJson(price, Date.now())));
});

billing.post("/prices", async (c) => {
  const body = await readBody(c.req.raw, newPriceSchema, "a price");
  return c.json(priceJson(await addPrice(c.env.DB, newPrice(body), Date.now())), 201);
});

billing.delete("/prices/:id", async (c) => {
  await withdrawPrice(c.env.DB, c.req.param("id"), Date.now());
  return c.body(null, 204);
});

billing.get("/dead-letters", async (c) => {
  const { replayed, ...query } = c.req.query();
  const { limit, after } = parsePage(query);
  const letters = await listDeadLetters(c.env.DB, {
    after: after ?? "",
    limit: limit + 1,
    replayed: replayed === "true",
  });
  return c.json(
    listJson(
      pageOf(letters, limit, (letter) => letter),
      deadLetterJson,
    ),
  );
});

billing.post("/dead-letters/replay", async (c) => {
  const { replayed, isNew, invalid } = await replayDeadLetters(c.env.DB, Date.now());
  c.executionCtx.waitUntil(sendToStripe(c.env));
  return c.json({ object: "dead_letter.replay", replayed, new_events: isNew, invalid });
});

billing.post("/dead-letters/:id/replay", async (c) => {
  const { id, isNew } = await replayDeadLetter(c.env.DB, c.req.param("id"), Date.now());
  c.executionCtx.waitUntil(sendToStripe(c.env));
  return c.json({ object: "dead_letter.replay", id, replayed: 1, new_events: isNew ? 1 : 0, invalid: 0 });
});

billing.put("/tenants/:tenant/stripe", async (c) => {
  const tenant = c.req.param("tenant");
  const { customer } = await readBody(c.req.raw, stripeCustomerSchema, "a tenant's Stripe settings");
  if (!(await setStripeCustomer(c.env.DB, tenant, customer))) {
    const message = `There is no tenant ${JSON.stringify(tenant)}. GET /admin/tenants lists them.`;
    throw new ApiError(404, "tenant_not_found", message);
  }
  return c.json({ object: "tenant.stripe", tenant, customer });
});

billing.get("/stripe", async (c) => {
  const { pending, lastError } = await stripeBacklog(c.env.DB);
  return c.json({ object: "stripe", enabled: stripeSettings(c.env) !== null, pending, last_error: lastError });
});

billing.post("/stripe/flush", async (c) => {
  const result = await sendToStripe(c.env, true);
  if (!result) {
    throw new ApiError(409, "stripe_off", "Stripe is off: set the secret STRIPE_SECRET_KEY to switch it on.");
  }
  const { pending } = await stripeBacklog(c.env.DB);
  const { sent, failed, lastError } = result;
  return c.json({ object: "stripe.flush", sent, failed, pending, last_error: lastError });
});
