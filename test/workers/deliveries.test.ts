/** From requests to the bill, when the queue delivers late, out of order and several times, and loses a whole batch's answer. */
import { expect, test } from "vitest";
import type { UsageEvent } from "../../src/metering/event.ts";
import { makeKey, putModel, sendAs } from "./isolate.ts";
import { brokenDatabase, deliver, deliveryOf, putPrice } from "./usage.ts";

interface Answer {
  usage: { input_tokens: number; output_tokens: number };
}

interface Usage {
  data: { task: string; requests: number; input_tokens: number; output_tokens: number; amount: string }[];
}

test("usage and invoice are what the answers said", async () => {
  await putModel("delivered");
  const tenant = "deliveries";
  const key = await makeKey(tenant);
  await putPrice(0, { tenant, inputPer1k: 100, outputPer1k: 400, perRequest: 7 });
  const template = "translate English to German: {input}";
  await sendAs(key, "PUT", "/v1/tasks/german", { model: "delivered", template });

  // The queue that the gateway writes to: what it sends is delivered below, by hand.
  const sent: UsageEvent[] = [];
  const USAGE = { send: async (body: UsageEvent) => void sent.push(body) } as unknown as Queue;
  const inputs = ["The house is old.", "I am hungry.", "Where is my book?", "It is raining.", "Tom speaks French."];
  let [input, output] = [0, 0];
  for (const text of [...inputs, inputs]) {
    const { json } = await sendAs<Answer>(
      key,
      "POST",
      "/v1/tasks/german",
      { input: text },
      {},
      { bindings: { USAGE } },
    );
    input += json.usage.input_tokens;
    output += json.usage.output_tokens;
  }
  await sendAs(key, "POST", "/v1/tasks/german", { input: " " }, {}, { bindings: { USAGE } });
  expect(sent).toHaveLength(6);

  const look = async () => (await sendAs<Usage>(key, "GET", "/v1/usage?group_by=task")).json.data;
  expect(await look()).toEqual([]);
  const messages = sent.map(deliveryOf);
  // Nothing could be written, and all of it comes again.
  await deliver(messages, { bindings: { DB: brokenDatabase } });
  expect(await look()).toEqual([]);
  await deliver(messages.slice(3).reverse());
  await deliver([...messages.slice(1, 5), ...messages.slice(1, 5)]);
  await deliver(messages.toReversed().map((message) => ({ ...message, attempts: 3 })));
  await deliver(messages);

  const nano = 6 * 7 + input * 100 + output * 400;
  const amount = (nano / 1e9).toFixed(9).replace(/0+$/, "");
  expect(await look()).toMatchObject([
    { task: "german", requests: 6, input_tokens: input, output_tokens: output, amount },
  ]);
  const month = new Date().toISOString().slice(0, 7);
  const { json } = await sendAs(key, "GET", `/v1/invoices/${month}`);
  expect(json).toMatchObject({ total: amount, usage: [{ task: "german", requests: 6, amount }] });
});
