/** Clients that leave at the worst moments: what they hold is free again, and what was made for them is billed. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { app } from "../../functions/gateway/app.ts";
import type { GatewayBindings } from "../../functions/gateway/bindings.ts";
import { bindingsFor, database, makeKey, putModel, sendAs } from "./isolate.ts";

const LIMITS = { concurrency: 1, softBudget: null, hardBudget: null };
const INPUT = "translate English to German: The house is old.";

beforeAll(() => putModel("left"));

/** Of one who may ask once at a time. */
async function client(tenant: string, bindings: Partial<GatewayBindings> = {}) {
  const key = await makeKey(tenant, {}, { limits: LIMITS });
  await sendAs(key, "PUT", "/v1/tasks/t", { model: "left", template: "{input}" });
  const ask = async (path: string, body: object, use: (response: Response) => unknown, signal?: AbortSignal) => {
    const context = createExecutionContext();
    const init = {
      method: "POST",
      headers: { authorization: `Bearer ${key}` },
      body: JSON.stringify(body),
      ...(signal && { signal }),
    };
    await use(await app.request(path, init, { ...bindingsFor({}, context), ...bindings }, context));
    await waitOnExecutionContext(context);
  };
  const isFree = async () => {
    const body = { model: "left", prompt: INPUT, max_tokens: 1 };
    return (await sendAs(key, "POST", "/v1/completions", body)).status === 200;
  };
  /** The first request's event. */
  const event = () =>
    expect.poll(
      async () =>
        database
          .prepare("SELECT outcome, input_tokens, output_tokens FROM usage_events WHERE tenant = ? ORDER BY at LIMIT 1")
          .bind(tenant)
          .first<{ outcome: string; output_tokens: number }>(),
      { timeout: 5_000 },
    );
  return { ask, isFree, event };
}

describe.each([
  ["completions", "/v1/completions", { model: "left", prompt: INPUT }],
  ["tasks", "/v1/tasks/t", { input: INPUT }],
])("a stream of %s", (name, path, body) => {
  test("that is let go of before anything of it was read", async () => {
    const { ask, isFree, event } = await client(`unread-${name}`);
    await ask(path, { ...body, stream: true }, (response) => response.body?.cancel());
    expect(await isFree()).toBe(true);
    await event().toEqual({ outcome: "cut_off", input_tokens: 7, output_tokens: 1 });
  });
});

test("who left while it was looked up what is asked for has nothing made", async () => {
  const gone = new AbortController();
  const leaving = new Proxy(database, {
    get(target, property) {
      if (property === "prepare") gone.abort();
      const value: unknown = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const { ask, isFree, event } = await client("early", { DB: leaving });
  await ask("/v1/completions", { model: "left", prompt: INPUT }, (response) => response.text(), gone.signal);
  expect(await isFree()).toBe(true);
  await event().toEqual({ outcome: "cut_off", input_tokens: 7, output_tokens: 0 });
});

test("who leaves while the prompt is on its way to the encoder has nothing encoded, and that is no failure", async () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => {});
  onTestFinished(() => logged.mockRestore());
  const gone = new AbortController();
  const { ENCODER } = bindingsFor();
  const statuses: number[] = [];
  const leaving = {
    async fetch(url: string, init?: RequestInit) {
      if (!url.endsWith("/encode")) return ENCODER.fetch(url, init);
      gone.abort();
      const response = await ENCODER.fetch(url, init);
      statuses.push(response.status);
      return response;
    },
  } as Fetcher;
  const { ask, isFree, event } = await client("encoding", { ENCODER: leaving });
  await ask("/v1/completions", { model: "left", prompt: INPUT }, (response) => response.text(), gone.signal);
  expect(statuses).toEqual([499]);
  expect(logged).not.toHaveBeenCalled();
  expect(await isFree()).toBe(true);
  await event().toEqual({ outcome: "cut_off", input_tokens: 7, output_tokens: 0 });
});
