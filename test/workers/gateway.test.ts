/** The Workers' own rules: what is refused and how, what happens when storage fails. */
import { beforeAll, describe, expect, test } from "vitest";
import { modelKey, modelStore, versionKey } from "../../src/store/r2.ts";
import { MANIFEST_KEY, type Manifest } from "../../src/t5/manifest.ts";
import { loadTokenizer } from "../../src/t5/tokenizer.ts";
import { ModelVersions } from "../../src/tenancy/model-versions.ts";
import { AS_ADMIN, bucket, byName, complete, type ErrorBody, putBlob, putModel, send } from "./isolate.ts";

const PROMPT = "translate English to German: The house is old.";
const ANSWER = "Das Haus ist alt.";

interface Answer {
  choices: {
    text: string;
    index: number;
    finish_reason: string;
    logprobs: { tokens: string[]; token_logprobs: number[]; top_logprobs: object[]; text_offset: number[] } | null;
  }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
}

let manifest: Manifest;
/** Token ids of words that answers are made to begin with. */
let das: number;
let haus: number;
beforeAll(async () => {
  manifest = await putModel("m");
  const tokenizer = await loadTokenizer(manifest, modelStore(bucket, "m@0123456789abcdef"));
  [das, haus] = ["Das", "Haus"].map((word) => tokenizer.encode(word)[0]) as [number, number];
});

test("answers inside workerd", async () => {
  const response = await complete({ model: "m", prompt: [PROMPT, PROMPT] });
  expect(response.status).toBe(200);
  expect(response.headers.get("x-request-id")).toMatch(/\w/);
  const { choices, usage } = await response.json<Answer>();
  expect(choices.map(({ text }) => text)).toEqual([ANSWER, ANSWER]);
  expect(usage).toEqual({ prompt_tokens: 14, completion_tokens: 12, total_tokens: 26 });
});

describe("bad input: status, OpenAI's error object, a stable code", () => {
  const good = { model: "m", prompt: PROMPT };
  const cases: [what: string, body: object | string, status: number, code: string, param: string | null][] = [
    ["no JSON", "{", 400, "invalid_json", null],
    ["nothing", "", 400, "invalid_json", null],
    ["a list", "[]", 400, "invalid_type", null],
    ["null", "null", 400, "invalid_type", null],
    ["no model", { prompt: PROMPT }, 400, "missing_required_parameter", "model"],
    ["a model that is no text", { ...good, model: 7 }, 400, "invalid_type", "model"],
    ["an unknown model", { ...good, model: "other" }, 404, "model_not_found", "model"],
    ["a model that is a path", { ...good, model: "../m" }, 404, "model_not_found", "model"],
    ["no prompt", { model: "m" }, 400, "missing_required_parameter", "prompt"],
    ["a prompt that is null", { model: "m", prompt: null }, 400, "invalid_type", "prompt"],
    ["an empty prompt", { model: "m", prompt: "" }, 400, "empty_prompt", "prompt"],
    ["a prompt of spaces", { model: "m", prompt: " \n" }, 400, "empty_prompt", "prompt"],
    ["no prompts", { model: "m", prompt: [] }, 400, "empty_prompt", "prompt"],
    ["an empty prompt among others", { model: "m", prompt: ["a", ""] }, 400, "empty_prompt", "prompt.1"],
    ["token ids", { model: "m", prompt: [1, 2] }, 400, "invalid_type", "prompt.0"],
    ["an object as prompt", { model: "m", prompt: {} }, 400, "invalid_type", "prompt"],
    ["too many prompts", { model: "m", prompt: Array(33).fill("a") }, 400, "invalid_value", "prompt"],
    ["max_tokens 0", { ...good, max_tokens: 0 }, 400, "invalid_value", "max_tokens"],
    ["max_tokens 1.5", { ...good, max_tokens: 1.5 }, 400, "invalid_type", "max_tokens"],
    ["max_tokens as text", { ...good, max_tokens: "9" }, 400, "invalid_type", "max_tokens"],
    ["more than may be made", { ...good, max_tokens: 65 }, 400, "context_length_exceeded", "max_tokens"],
    ["a prompt over the limit", { model: "m", prompt: "a ".repeat(600) }, 400, "context_length_exceeded", "prompt"],
    ["stream as text", { ...good, stream: "yes" }, 400, "invalid_type", "stream"],
    ["stream_options alone", { ...good, stream_options: {} }, 400, "invalid_value", "stream_options"],
    ["what is not supported", { ...good, presence_penalty: 0.7 }, 400, "unsupported_parameter", "presence_penalty"],
    ["several greedy answers", { ...good, n: 2 }, 400, "invalid_value", "n"],
    ["fewer candidates than answers", { ...good, n: 3, best_of: 2, temperature: 1 }, 400, "invalid_value", "best_of"],
    ["a ranked stream", { ...good, best_of: 2, temperature: 1, stream: true }, 400, "invalid_value", "best_of"],
    ["beams that sample", { ...good, num_beams: 2, temperature: 1 }, 400, "invalid_value", "num_beams"],
    ["more answers than beams", { ...good, num_beams: 2, n: 3 }, 400, "invalid_value", "n"],
    [
      "at least more than at most",
      { ...good, min_new_tokens: 9, max_tokens: 8 },
      400,
      "invalid_value",
      "min_new_tokens",
    ],
    ["a forced token of no vocabulary", { ...good, forced_bos_token_id: 8064 }, 400, "invalid_value", null],
    ["a word of no vocabulary", { ...good, bad_words_ids: [[1, 8064]], stream: true }, 400, "invalid_value", null],
    ["log-probabilities of beams", { ...good, num_beams: 2, logprobs: 1 }, 400, "invalid_value", "logprobs"],
    ["log-probabilities of a prompt", { ...good, echo: true, logprobs: 1 }, 400, "invalid_value", "logprobs"],
    ["too many log-probabilities", { ...good, logprobs: 6 }, 400, "invalid_value", "logprobs"],
    ["an empty stop text", { ...good, stop: "" }, 400, "invalid_value", "stop"],
    ["five stop texts", { ...good, stop: ["a", "b", "c", "d", "e"] }, 400, "invalid_value", "stop"],
    ["a temperature above 2", { ...good, temperature: 2.1 }, 400, "invalid_value", "temperature"],
    ["an unknown parameter", { ...good, max_token: 5 }, 400, "unknown_parameter", "max_token"],
    ["a body over the limit", { ...good, prompt: "a".repeat(10_001) }, 413, "request_too_large", null],
  ];
  test.each(cases)("%s", async (_, body, status, code, param) => {
    const response = await complete(body);
    expect(response.status).toBe(status);
    const { error } = await response.json<ErrorBody>();
    expect(error).toEqual({ message: expect.any(String), type: "invalid_request_error", param, code });
    expect(error.message.length).toBeGreaterThan(20);
  });

  test("the placement's limit, when it is below the model's, names both sides", async () => {
    const response = await complete({ model: "m", prompt: PROMPT }, { limits: { MAX_PROMPT_TOKENS: 6 } });
    expect(response.status).toBe(400);
    const { error } = await response.json<ErrorBody>();
    expect(error.code).toBe("context_length_exceeded");
    expect(error.message).toMatch(/7 tokens.* up to 6/);
  });

  test("an unknown route", async () => {
    const response = await send("/v1/chat/completions", { method: "POST", body: "{}" });
    expect(response.status).toBe(404);
    const { code, message } = (await response.json<ErrorBody>()).error;
    expect(code).toBe("not_found");
    expect(message).toMatch(/^There is no POST \/v1\/chat\/completions\. \/docs .*\/openapi\.json/);
  });

  test.each([
    ["GET", "/v1/completions", "POST"],
    ["PATCH", "/v1/tasks/a", "GET, POST, PUT, DELETE"],
    ["DELETE", "/healthz", "GET"],
  ])("%s %s: a method that the route has not", async (method, path, allow) => {
    const response = await send(path, { method });
    expect([response.status, response.headers.get("allow")]).toEqual([405, allow]);
    const { code, message } = (await response.json<ErrorBody>()).error;
    expect(code).toBe("method_not_allowed");
    expect(message).toContain(`${path} has no ${method}, but ${allow.replaceAll(", ", " and ")}.`);
  });

  test("neutral values of parameters that cannot be honoured are taken", async () => {
    const response = await complete({ ...good, n: 1, temperature: 0, top_p: 1, logprobs: null, stop: null, seed: 3 });
    expect(response.status).toBe(200);
  });
});

describe("ways to generate", () => {
  const ask = async (body: object) => {
    const response = await complete({ model: "m", prompt: PROMPT, ...body });
    expect(response.status).toBe(200);
    return response.json<Answer>();
  };
  const textsOf = async (body: object) => (await ask(body)).choices.map(({ text }) => text);
  /** Texts of a stream, put together. */
  const streamed = async (body: object) => {
    const response = await complete({ model: "m", prompt: PROMPT, stream: true, ...body });
    expect(response.status).toBe(200);
    const events = (await response.text()).split("\n\n").filter((event) => event.startsWith("data: {"));
    const texts: string[] = [];
    for (const event of events) {
      for (const { index, text } of (JSON.parse(event.slice(6)) as Answer).choices) {
        texts[index] = (texts[index] ?? "") + text;
      }
    }
    return texts;
  };

  test("beams: the best answers first, streamed or not", async () => {
    const beams = await textsOf({ num_beams: 4, n: 4 });
    expect(new Set(beams).size).toBe(4);
    expect(beams[0]).toBe(ANSWER);
    expect(await streamed({ num_beams: 4, n: 4 })).toEqual(beams);
    expect(await textsOf({ num_beams: 4 })).toEqual([ANSWER]);
  });

  test("sampling: the same seed gives the same texts, another gives others", async () => {
    const body = { temperature: 2, n: 4, seed: 5, max_tokens: 12 };
    const texts = await textsOf(body);
    expect(texts).toHaveLength(4);
    expect(new Set(texts).size).toBeGreaterThan(1);
    expect(await textsOf(body)).toEqual(texts);
    expect(await streamed(body)).toEqual(texts);
    expect(await textsOf({ ...body, seed: 6 })).not.toEqual(texts);
  });

  test("several prompts with several answers: each prompt's answers in a row", async () => {
    const prompts = [PROMPT, "translate English to German: The dog is old.", PROMPT];
    const texts = await textsOf({ prompt: prompts, num_beams: 2, n: 2 });
    expect(texts).toHaveLength(6);
    expect(texts.slice(0, 2)).toEqual(texts.slice(4));
    expect(texts[2]).toMatch(/Hund/);
  });

  test("best_of gives the most probable a token of its candidates, and counts them all", async () => {
    const body = { temperature: 1.5, seed: 3, max_tokens: 8 };
    const all = await ask({ ...body, n: 6, logprobs: 0 });
    const mean = ({ logprobs }: Answer["choices"][number]) =>
      (logprobs?.token_logprobs ?? []).reduce((sum, each) => sum + each, 0) / (logprobs?.tokens.length ?? 1);
    const ranked = all.choices.toSorted((a, b) => mean(b) - mean(a));
    const best = await ask({ ...body, n: 2, best_of: 6 });
    expect(best.choices.map(({ text }) => text)).toEqual(ranked.slice(0, 2).map(({ text }) => text));
    expect(best.choices.map(({ index, logprobs }) => [index, logprobs])).toEqual([
      [0, null],
      [1, null],
    ]);
    expect(best.usage.completion_tokens).toBe(all.usage.completion_tokens);
  });

  test("log-probabilities of each token, the most probable ones beside it", async () => {
    const { choices } = await ask({ logprobs: 3 });
    const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0]!.logprobs!;
    expect(tokens).toEqual([" Das", " Haus", " ist", " alt", ".", "</s>"]);
    expect(text_offset).toEqual([0, 3, 8, 12, 16, 17]);
    for (const [i, top] of top_logprobs.entries()) {
      const values = Object.values(top);
      expect(values).toHaveLength(3);
      // Greedy: the chosen one is the most probable.
      expect(Math.max(...values)).toBe(token_logprobs[i]);
      expect(token_logprobs[i]).toBeLessThanOrEqual(0);
    }
  });

  test.each([
    ["a word", "Haus", "Das "],
    ["across tokens", "s ist al", "Das Hau"],
    ["the first of several", ["alt", " ist"], "Das Haus"],
    ["one that does not come", "Baum", ANSWER],
    ["one that begins and does not end", "alt. Und", ANSWER],
  ])("stop: %s", async (_, stop, text) => {
    const { choices } = await ask({ stop });
    expect(choices[0]).toMatchObject({ text, finish_reason: "stop" });
    expect(await streamed({ stop })).toEqual([text]);
  });

  test("echo puts the prompt before the answer", async () => {
    expect(await textsOf({ echo: true })).toEqual([PROMPT + ANSWER]);
    expect(await streamed({ echo: true })).toEqual([PROMPT + ANSWER]);
  });

  test("Hugging Face's own parameters", async () => {
    expect(await textsOf({ min_new_tokens: 12, max_tokens: 12 })).not.toEqual([ANSWER]);
    expect((await textsOf({ forced_bos_token_id: haus }))[0]).toMatch(/^Haus/);
    expect((await textsOf({ suppress_tokens: [haus] }))[0]).not.toMatch(/Haus\b/);
    expect((await textsOf({ bad_words_ids: [[das, haus]] }))[0]).not.toMatch(/Das Haus\b/);
  });
});

describe("a model's generation_config.json gives its defaults", () => {
  const textsOf = async (body: object) => {
    const response = await complete({ model: "defaults", prompt: PROMPT, ...body });
    expect(response.status).toBe(200);
    return (await response.json<Answer>()).choices.map(({ text }) => text);
  };
  beforeAll(async () => {
    await putModel("defaults", {
      generation: { num_beams: 3, forced_bos_token_id: haus, max_length: 4, top_k: null, eos_token_id: 1, top_p: 7 },
    });
  });

  test("which hold", async () => {
    const [text, ...others] = await textsOf({ n: 3 });
    expect(text).toMatch(/^Haus/);
    expect(others).toHaveLength(2);
    const { usage } = await (await complete({ model: "defaults", prompt: PROMPT })).json<Answer>();
    expect(usage.completion_tokens).toBeLessThanOrEqual(3);
  });

  test("unless a request says otherwise", async () => {
    expect(await textsOf({ temperature: 1, seed: 1, max_tokens: 8 })).toHaveLength(1);
    expect(await textsOf({ num_beams: 1, forced_bos_token_id: das, max_tokens: 20 })).toEqual([ANSWER]);
  });
});

describe("storage that fails: 503, and 200 once it is mended", () => {
  const unavailable = async (name: string, message: RegExp) => {
    const response = await complete({ model: name, prompt: PROMPT });
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("10");
    const { error } = await response.json<ErrorBody>();
    expect(error).toMatchObject({ type: "server_error", code: "model_unavailable" });
    expect(error.message).toMatch(message);
  };
  const answers = async (name: string) => {
    const response = await complete({ model: name, prompt: PROMPT });
    expect(response.status).toBe(200);
    expect((await response.json<Answer>()).choices[0]?.text).toBe(ANSWER);
  };
  const blobOf = (role: string) => Object.entries(manifest.blobs).find(([, blob]) => blob.role === role)?.[0] ?? "";

  test.each(["encoder", "decoder", "embedding", "tokenizer"])("a missing %s blob", async (role) => {
    const name = `missing-${role}`;
    await putModel(name);
    await bucket.delete(modelKey(name, `blobs/${blobOf(role)}`));
    await unavailable(name, /E_BLOB_MISSING.*Push the package again/);
    await unavailable(name, /E_BLOB_MISSING/);
    await putBlob(name, blobOf(role));
    await answers(name);
  });

  test.each([
    ["flipped bit", (bytes: Uint8Array) => bytes.with(1000, bytes[1000]! ^ 1), /E_BLOB_CORRUPT.*SHA-256/],
    ["missing end", (bytes: Uint8Array) => bytes.slice(0, -1), /E_BLOB_CORRUPT.*ends after/],
    ["byte too many", (bytes: Uint8Array) => new Uint8Array([...bytes, 0]), /E_BLOB_CORRUPT.*longer/],
  ] as const)("a decoder blob with a %s, loaded again into the same memory", async (what, change, message) => {
    const name = `corrupt-${what.replaceAll(" ", "-")}`;
    await putModel(name);
    await putBlob(name, blobOf("decoder"), change);
    await unavailable(name, message);
    const decoderHealth = async () => {
      const { decoder } = await (await send("/healthz", AS_ADMIN)).json<{
        decoder: { models: Record<string, { state: string; loads: number; failures: number; wasm_bytes: number }> };
      }>();
      return byName(decoder.models)[name];
    };
    const failed = await decoderHealth();
    expect(failed).toMatchObject({ state: "absent", loads: 1, failures: 1 });
    await putBlob(name, blobOf("decoder"));
    await answers(name);
    expect(await decoderHealth()).toMatchObject({ loads: 2, failures: 1, wasm_bytes: failed?.wasm_bytes });
  });

  test("a manifest that is no manifest", async () => {
    await putModel("bad-manifest");
    const { version } = await new ModelVersions(bucket, "bad-manifest").pointer();
    const key = modelKey("bad-manifest", versionKey(version ?? "", MANIFEST_KEY));
    const good = await (await bucket.get(key))?.text();
    await bucket.put(key, "{");
    await unavailable("bad-manifest", /E_MANIFEST/);
    await bucket.put(key, good ?? "");
    await answers("bad-manifest");
  });

  test("an error before the first token of a stream has a status of its own", async () => {
    await putModel("stream");
    await bucket.delete(modelKey("stream", `blobs/${blobOf("decoder")}`));
    const response = await complete({ model: "stream", prompt: PROMPT, stream: true });
    expect(response.status).toBe(503);
    expect(response.headers.get("content-type")).toMatch("application/json");
  });
});

test("concurrent first requests read each blob once a half", async () => {
  await putModel("shared");
  const reads = new Map<string, number>();
  const counted = new Proxy(bucket, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property);
      if (typeof value !== "function") return value;
      return (key: string, ...rest: unknown[]) => {
        if (property === "get") reads.set(key, (reads.get(key) ?? 0) + 1);
        return value.call(target, key, ...rest);
      };
    },
  });
  const responses = await Promise.all(
    Array.from({ length: 8 }, () => complete({ model: "shared", prompt: PROMPT }, { shards: counted })),
  );
  expect(responses.map(({ status }) => status)).toEqual(Array(8).fill(200));
  const times = Object.entries(manifest.blobs).map(([hash, { role }]) => [
    role,
    reads.get(modelKey("shared", `blobs/${hash}`)),
  ]);
  expect(times).toEqual([
    ["embedding", 2],
    ["encoder", 1],
    ["decoder", 1],
    // Only the onnx engine reads graphs.
    ["graph", undefined],
    ["graph", undefined],
    ["graph", undefined],
    ["tokenizer", 1],
    ["tokenizer", 1],
  ]);
});

test("models take turns in memory that does not hold them all; none is lost, and answers stay right", async () => {
  const names = ["turn-a", "turn-b", "turn-c"];
  for (const name of names) await putModel(name);
  // Two decoders of this size, not three.
  const limits = { MAX_SEQUENCES: 1, MAX_WASM_BYTES: 20_000_000 };
  const ask = async (name: string) => {
    const response = await complete({ model: name, prompt: PROMPT }, { limits });
    expect(response.status).toBe(200);
    expect((await response.json<Answer>()).choices[0]?.text).toBe(ANSWER);
  };
  const resident = async () => {
    const { decoder } = await (await send("/healthz", AS_ADMIN)).json<{
      decoder: { models: Record<string, { loads: number; wasm_bytes: number }> };
    }>();
    const models = Object.entries(byName(decoder.models));
    expect(models.reduce((sum, [, { wasm_bytes }]) => sum + wasm_bytes, 0)).toBeLessThanOrEqual(limits.MAX_WASM_BYTES);
    return models.map(([name]) => name);
  };
  await ask("turn-a");
  await ask("turn-b");
  await ask("turn-a");
  expect(await resident()).toEqual(["turn-b", "turn-a"]);
  await ask("turn-c");
  expect(await resident()).toEqual(["turn-a", "turn-c"]);
  await ask("turn-b");
  expect(await resident()).toEqual(["turn-c", "turn-b"]);
});

test("more requests than there is room for wait their turn", async () => {
  // A memory for one sequence at once.
  const limits = { MAX_SEQUENCES: 1 };
  await putModel("narrow");
  const responses = await Promise.all(
    Array.from({ length: 6 }, () => complete({ model: "narrow", prompt: [PROMPT, PROMPT] }, { limits })),
  );
  for (const response of responses) {
    expect(response.status).toBe(200);
    expect((await response.json<Answer>()).choices.map(({ text }) => text)).toEqual([ANSWER, ANSWER]);
  }
});
