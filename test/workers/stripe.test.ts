/** Usage on its way to Stripe, to a local double of the one route that takes it. */
import { afterEach, beforeEach, describe, expect, inject, test, vi } from "vitest";
import type { GatewayBindings } from "../../functions/gateway/bindings.ts";
import { flushStripe } from "../../src/metering/stripe.ts";
import { ADMIN_TOKEN, database, type ErrorBody, makeKey, sendAs } from "./isolate.ts";
import { deliver, deliveryOf, ledgerIds, makeEvent } from "./usage.ts";

const STRIPE = inject("stripeUrl");

const bindings: Partial<GatewayBindings> = {
  STRIPE_SECRET_KEY: "sk_test_double",
  STRIPE_API_BASE: STRIPE,
  STRIPE_INPUT_METER: "tokens_in",
  STRIPE_OUTPUT_METER: "tokens_out",
  STRIPE_TRAINING_METER: "tokens_trained",
};

interface Taken {
  identifier: string;
  event_name: string;
  timestamp: number;
  value: string;
  customer: string;
}

interface Flushed {
  sent: number;
  failed: number;
  pending: number;
  last_error: string | null;
}

const taken = async (customer: string): Promise<Taken[]> => {
  const all = await (await fetch(`${STRIPE}/taken`)).json<Taken[]>();
  return all.filter((event) => event.customer === customer).sort((a, b) => (a.identifier < b.identifier ? -1 : 1));
};

const fail = (status: number, times: number, isTaken = false) =>
  fetch(`${STRIPE}/fail`, { method: "POST", body: JSON.stringify({ status, times, taken: isTaken }) });

const asAdmin = <Json>(method: string, path: string, body?: object, more: Partial<GatewayBindings> = bindings) =>
  sendAs<Json & ErrorBody>(ADMIN_TOKEN, method, path, body, {}, { bindings: more });

const flush = async () => (await asAdmin<Flushed>("POST", "/admin/stripe/flush")).json;

/** A tenant whom Stripe bills. @returns their customer */
async function makeCustomer(tenant: string): Promise<string> {
  await makeKey(tenant);
  const customer = `cus_${tenant.replaceAll("-", "")}`;
  const { status } = await asAdmin("PUT", `/admin/tenants/${tenant}/stripe`, { customer });
  expect(status).toBe(200);
  return customer;
}

const eventOf = (tenant: string, changes: object = {}) => makeEvent({ tenant, at: Date.now(), ...changes });

beforeEach(() => {
  vi.spyOn(console, "error").mockImplementation(() => {});
});

afterEach(async () => {
  vi.restoreAllMocks();
  await fail(500, 0);
  await database.prepare("DELETE FROM stripe_outbox").run();
});

describe("meter events", () => {
  test("go out once the events are in the ledger: one a meter, named by the request", async () => {
    const customer = await makeCustomer("pays");
    const events = [eventOf("pays"), eventOf("pays", { inputTokens: 7, outputTokens: 0 })];
    await deliver([...events, events[0]!].map(deliveryOf), { bindings });
    const [first, second] = events;
    const timestamp = Math.floor(first!.at / 1000);
    expect(await taken(customer)).toEqual([
      { identifier: `${first!.id}:input`, event_name: "tokens_in", timestamp, value: "10", customer },
      { identifier: `${first!.id}:output`, event_name: "tokens_out", timestamp, value: "5", customer },
      {
        identifier: `${second!.id}:input`,
        event_name: "tokens_in",
        timestamp: expect.any(Number),
        value: "7",
        customer,
      },
    ]);
    await deliver(events.map(deliveryOf), { bindings });
    expect(await taken(customer)).toHaveLength(3);
  });

  test("of a fine-tuning goes to the meter for training, whatever the others are", async () => {
    const customer = await makeCustomer("trains");
    const event = eventOf("trains", { inputTokens: 0, outputTokens: 0, trainingTokens: 900 });
    const one = { ...bindings, STRIPE_INPUT_METER: "tokens", STRIPE_OUTPUT_METER: "tokens" };
    for (let i = 0; i < 2; i++) await deliver([deliveryOf(event)], { bindings: one });
    expect(await taken(customer)).toMatchObject([
      { identifier: `${event.id}:training`, event_name: "tokens_trained", value: "900" },
    ]);
  });

  test("one meter for both takes their sum under the request's id", async () => {
    const customer = await makeCustomer("sums");
    const event = eventOf("sums");
    const one = { ...bindings, STRIPE_INPUT_METER: "tokens", STRIPE_OUTPUT_METER: "tokens" };
    await deliver([deliveryOf(event)], { bindings: one });
    expect(await taken(customer)).toMatchObject([{ identifier: event.id, event_name: "tokens", value: "15" }]);
  });

  test("are of tenants with a customer only, and from then on", async () => {
    await makeKey("free");
    await deliver([deliveryOf(eventOf("free"))], { bindings });
    const customer = await makeCustomer("free");
    await deliver([deliveryOf(eventOf("free"))], { bindings });
    expect(await taken(customer)).toHaveLength(2);
    await asAdmin("PUT", "/admin/tenants/free/stripe", { customer: null });
    await deliver([deliveryOf(eventOf("free"))], { bindings });
    expect(await taken(customer)).toHaveLength(2);
  });

  test("wait while Stripe is off, and go out when it is on", async () => {
    const customer = await makeCustomer("waits");
    await deliver([deliveryOf(eventOf("waits"))]);
    expect(await taken(customer)).toEqual([]);
    const off = await asAdmin<{ enabled: boolean; pending: number }>("GET", "/admin/stripe", undefined, {});
    expect(off.json).toMatchObject({ enabled: false, pending: 1 });
    expect(await asAdmin("POST", "/admin/stripe/flush", undefined, {})).toMatchObject({
      status: 409,
      json: { error: { code: "stripe_off" } },
    });
    expect(await flush()).toEqual({ object: "stripe.flush", sent: 1, failed: 0, pending: 0, last_error: null });
    expect(await taken(customer)).toHaveLength(2);
  });
});

describe("a Stripe that fails", () => {
  test.each([500, 429, 401, 400])(
    "with %i: the usage is in the ledger, waits, and is sent once it is well",
    async (status) => {
      const tenant = `fails-${status}`;
      const customer = await makeCustomer(tenant);
      const events = [eventOf(tenant), eventOf(tenant), eventOf(tenant)];
      await fail(status, 100);
      const { acknowledged } = await deliver(events.map(deliveryOf), { bindings });
      expect(acknowledged).toHaveLength(3);
      expect(await ledgerIds(tenant)).toHaveLength(3);
      expect(await taken(customer)).toEqual([]);
      const { json } = await asAdmin<{ pending: number; last_error: string }>("GET", "/admin/stripe");
      expect(json.pending).toBe(3);
      expect(json.last_error).toMatch(new RegExp(`^${status}: `));
      await fail(status, 0);
      expect(await flush()).toMatchObject({ sent: 3, failed: 0, pending: 0 });
      expect((await taken(customer)).map(({ identifier }) => identifier)).toEqual(
        events.flatMap(({ id }) => [`${id}:input`, `${id}:output`]).sort(),
      );
      expect(await flush()).toMatchObject({ sent: 0, failed: 0, pending: 0 });
    },
  );

  test("after it took an event: the event is sent again, and Stripe counts it once", async () => {
    const customer = await makeCustomer("answerless");
    const event = eventOf("answerless");
    await fail(500, 1, true);
    await deliver([deliveryOf(event)], { bindings });
    expect(await taken(customer)).toHaveLength(1);
    expect(await flush()).toMatchObject({ sent: 1, failed: 0, pending: 0 });
    expect((await taken(customer)).map(({ value }) => value)).toEqual(["10", "5"]);
  });

  test("between a request's two meters: the one that was taken is not sent again", async () => {
    const customer = await makeCustomer("half");
    const event = eventOf("half");
    await deliver([deliveryOf(event)]);
    const settings = {
      secretKey: "sk_test_double",
      inputMeter: "tokens_in",
      outputMeter: "tokens_out",
      trainingMeter: "tokens_trained",
      apiBase: STRIPE,
    };
    const { port } = new URL(STRIPE);
    // Its second answer does not come.
    let calls = 0;
    const fetched = vi.spyOn(globalThis, "fetch").mockImplementation(async (...args) => {
      if (++calls === 2) throw new TypeError(`connection to ${port} lost`);
      return Reflect.apply(original, globalThis, args) as Promise<Response>;
    });
    const broken = await flushStripe(database, settings, { now: Date.now, limit: 10 });
    expect(broken).toMatchObject({ sent: 0, failed: 1 });
    expect(fetched).toHaveBeenCalledTimes(2);
    await flushStripe(database, settings, { now: Date.now, limit: 10, everything: true });
    expect(fetched).toHaveBeenCalledTimes(3);
    expect(await taken(customer)).toHaveLength(2);
  });

  test("an event that it does not take holds up no other", async () => {
    const customer = await makeCustomer("mixed-bag");
    const old = eventOf("mixed-bag", { at: Date.now() - 40 * 86_400_000 });
    const good = eventOf("mixed-bag");
    await deliver([deliveryOf(old), deliveryOf(good)], { bindings });
    expect((await taken(customer)).map(({ identifier }) => identifier)).toEqual([
      `${good.id}:input`,
      `${good.id}:output`,
    ]);
    expect(await flush()).toMatchObject({
      sent: 0,
      failed: 1,
      pending: 1,
      last_error: expect.stringMatching(/35 cal/),
    });
  });

  test("is tried later and later, not at once", async () => {
    await makeCustomer("backoff");
    await deliver([deliveryOf(eventOf("backoff"))]);
    const settings = { secretKey: "wrong", inputMeter: "a", outputMeter: "b", trainingMeter: "c", apiBase: STRIPE };
    const start = Date.now();
    const failures: number[] = [];
    for (let second = 0; second < 40; second++) {
      const { failed } = await flushStripe(database, settings, { now: () => start + second * 1000, limit: 10 });
      if (failed > 0) failures.push(second);
    }
    expect(failures).toEqual([0, 1, 3, 7, 15, 31]);
  });
});

test("two Workers that send at once do not send the same", async () => {
  const customer = await makeCustomer("twins");
  await deliver(Array.from({ length: 30 }, () => deliveryOf(eventOf("twins"))));
  const settings = {
    secretKey: "sk_test_double",
    inputMeter: "i",
    outputMeter: "o",
    trainingMeter: "t",
    apiBase: STRIPE,
  };
  const fetched = vi.spyOn(globalThis, "fetch");
  const results = await Promise.all(
    [1, 2, 3].map(() => flushStripe(database, settings, { now: Date.now, limit: 100 })),
  );
  expect(results.reduce((sum, { sent }) => sum + sent, 0)).toBe(30);
  expect(fetched).toHaveBeenCalledTimes(60);
  expect(await taken(customer)).toHaveLength(60);
});

test("a customer must look like one, of a tenant that is there", async () => {
  await makeKey("checks");
  const bad = await asAdmin("PUT", "/admin/tenants/checks/stripe", { customer: "acct_1" });
  expect(bad).toMatchObject({ status: 400, json: { error: { code: "invalid_value", param: "customer" } } });
  const nobody = await asAdmin("PUT", "/admin/tenants/nobody/stripe", { customer: "cus_1" });
  expect(nobody).toMatchObject({ status: 404, json: { error: { code: "tenant_not_found" } } });
});

const original = globalThis.fetch;
