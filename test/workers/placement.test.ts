/** Requests for an origin that says nothing, or that is not needed: what the edge does by itself. */
import { beforeAll, describe, expect, inject, test } from "vitest";
import { complete, type ErrorBody, putModel, send } from "./isolate.ts";

const SILENT = inject("silentOriginUrl");
const HOUSE = "translate English to German: The house is old.";
const LONG = "It is raining. ".repeat(150);

beforeAll(async () => {
  await putModel("m");
  for (const name of ["too-large", "too-large-too", "known-before"]) await putModel(name);
});

async function ask(body: object, bindings: object, limits = {}) {
  const response = await complete({ model: "m", max_tokens: 8, ...body }, { bindings, limits });
  const json = (await response.json()) as Partial<ErrorBody>;
  const at = response.headers.get("x-edge-t5-served-by");
  return { status: response.status, at, retryAfter: response.headers.get("retry-after"), code: json.error?.code };
}

describe("an origin that is silent", () => {
  // A wish, and over it.
  const bindings = { ORIGIN_URL: SILENT, ORIGIN_PATIENCE_MS: 100, EDGE_INPUTS: 1 };
  const list = { prompt: [HOUSE, HOUSE] };
  const heard = async () => Number(await (await fetch(`${SILENT}/heard`)).text());

  test("is waited for so long, three times in a row, and then not asked any more", async () => {
    const served = { status: 200, at: "edge" };
    const refused = { status: 503, at: null, code: "origin_unavailable", retryAfter: "1" };
    expect(await ask(list, bindings)).toMatchObject(served);
    expect(await ask({ prompt: LONG }, bindings)).toMatchObject(refused);
    expect(await heard()).toBe(2);
    expect(await ask({ ...list, stream: true }, bindings).catch((error: Error) => error.name)).toBe("SyntaxError");
    expect(await heard()).toBe(3);
    // Were it asked, each of these would be heard.
    for (let i = 0; i < 3; i++) {
      expect(await ask(list, bindings)).toMatchObject(served);
      expect(await ask({ prompt: LONG }, bindings)).toMatchObject(refused);
    }
    expect(await heard()).toBe(3);
    expect(await ask({ prompt: HOUSE }, bindings)).toMatchObject(served);
  });
});

test("a model that the Workers have no room for is the origin's; without one it is refused as before", async () => {
  const limits = { MAX_WASM_BYTES: 1_000_000 };
  const none = await ask({ model: "too-large", prompt: HOUSE }, {}, limits);
  expect(none).toMatchObject({ status: 503, code: "overloaded" });
  // Nobody listens there.
  const absent = { ORIGIN_URL: "http://127.0.0.1:9" };
  const refused = { status: 503, code: "origin_unavailable", retryAfter: expect.stringMatching(/^\d+$/) };
  expect(await ask({ model: "too-large-too", prompt: HOUSE }, absent, limits)).toMatchObject(refused);
  // The gateway has it, and the Workers were not asked yet.
  expect((await send("/v1/models/known-before")).status).toBe(200);
  expect(await ask({ model: "known-before", prompt: HOUSE }, absent, limits)).toMatchObject(refused);
});

test("without an origin everything is the edge's, and what is too long is refused for good", async () => {
  expect(await ask({ prompt: Array(20).fill(HOUSE) }, { EDGE_INPUTS: 1 })).toMatchObject({ status: 200, at: "edge" });
  expect(await ask({ prompt: LONG }, {})).toMatchObject({ status: 400, code: "context_length_exceeded" });
});
