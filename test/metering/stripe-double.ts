/**
 * Stripe's one route that is used, as a server on this machine: `POST /v1/billing/meter_events`, with its key, its form
 * encoding, its checks and its memory for identifiers. What it took: `GET /taken`; what it shall fail with next:
 * `POST /fail` with `{ "status": 500, "times": 2, "taken": true }`, `taken`: after it took the event.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { TestProject } from "vitest/node";

const STRIPE_TEST_KEY = "sk_test_double";

interface TakenMeterEvent {
  identifier: string;
  event_name: string;
  timestamp: number;
  value: string;
  customer: string;
}

interface Failure {
  status: number;
  times: number;
  taken: boolean;
}

const MONTH_S = 35 * 86_400;

/** Runs while the tests do. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const taken = new Map<string, TakenMeterEvent>();
  let failure: Failure = { status: 500, times: 0, taken: false };

  async function answer(request: IncomingMessage): Promise<[status: number, body: object]> {
    const body = await read(request);
    const route = `${request.method} ${request.url}`;
    if (route === "GET /taken") return [200, [...taken.values()]];
    if (route === "POST /fail") {
      failure = JSON.parse(body) as Failure;
      return [200, {}];
    }
    if (route !== "POST /v1/billing/meter_events") return [404, error(`Unrecognized request URL (${route})`)];
    const fails = failure.times > 0;
    if (fails) failure.times--;
    if (fails && !failure.taken) return [failure.status, error("told to fail")];
    if (request.headers.authorization !== `Bearer ${STRIPE_TEST_KEY}`) return [401, error("Invalid API Key provided")];
    const form = new URLSearchParams(body);
    const event: TakenMeterEvent = {
      identifier: form.get("identifier") ?? "",
      event_name: form.get("event_name") ?? "",
      timestamp: Number(form.get("timestamp")),
      value: form.get("payload[value]") ?? "",
      customer: form.get("payload[stripe_customer_id]") ?? "",
    };
    const age = Date.now() / 1000 - event.timestamp;
    if (!event.identifier || !event.event_name || !event.customer) return [400, error("Missing required param")];
    if (!/^\d+$/.test(event.value)) return [400, error("value must be a whole number")];
    if (age > MONTH_S || age < -300) return [400, error("timestamp must be within the past 35 calendar days")];
    if (taken.has(event.identifier)) {
      return [400, error(`An event already exists with identifier ${event.identifier}.`)];
    }
    taken.set(event.identifier, event);
    if (fails) return [failure.status, error("told to fail after the event was taken")];
    return [200, { object: "billing.meter_event", created: 1, livemode: false, ...event }];
  }

  const server = createServer(async (request, response) => {
    const [status, body] = await answer(request);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  project.provide("stripeUrl", `http://127.0.0.1:${address.port}`);
  return async () => {
    server.closeAllConnections();
    server.close();
  };
}

const error = (message: string) => ({ error: { type: "invalid_request_error", message } });

async function read(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) body += chunk;
  return body;
}
