/** Requests of one isolate of workerd decode in shared passes. */
import { beforeAll, expect, test } from "vitest";
import { decode, encode } from "../../functions/gateway/halves.ts";
import { modelId } from "../../src/store/r2.ts";
import type { TokenEvent } from "../../src/t5/generate.ts";
import { parseGenerationParams } from "../../src/t5/generation/config.ts";
import { ModelVersions } from "../../src/tenancy/model-versions.ts";
import { AS_ADMIN, bindingsFor, bucket, byName, complete, putModel, send } from "./isolate.ts";

const MODEL = "batching";
const PROMPT = "translate English to German: The house is old.";
const TOKENS = 48;
/** So many rows of this small model are worth a wait for each other. */
const ROWS = 32;
/** Room for all of them. */
const PLACEMENT = { limits: { MAX_SEQUENCES: 16 } };

let id: string;
beforeAll(async () => {
  await putModel(MODEL);
  const { version } = await new ModelVersions(bucket, MODEL).pointer();
  id = modelId(MODEL, version ?? "");
});

interface Health {
  decoder: { models: Record<string, { steps: number; passes: number; rows: number; open_sequences: number }> };
}

async function health() {
  const { decoder } = await (await send("/healthz", AS_ADMIN)).json<Health>();
  return byName(decoder.models)[MODEL]!;
}

/** What happens while `run` does. */
async function counted<T>(run: () => Promise<T>) {
  const before = await health();
  const result = await run();
  const after = await health();
  return { result, passes: after.passes - before.passes, rows: after.rows - before.rows };
}

async function* sample(seed: number, copies: number): AsyncGenerator<TokenEvent, void, undefined> {
  const bindings = bindingsFor(PLACEMENT);
  const options = {
    maxNewTokens: TOKENS,
    stream: true,
    params: parseGenerationParams({ do_sample: true, temperature: 2, suppress_tokens: [1] }),
    copies,
    seed,
    logprobs: null,
  };
  const ids = [13, 100 + seed, 200, 1];
  const { signal } = new AbortController();
  const use = { env: bindings, model: id, adapter: undefined, owner: "tests" };
  yield* decode(use, [await encode(use, ids, signal)], options, signal);
}

async function collect(events: AsyncIterable<TokenEvent>): Promise<number[][]> {
  const answers: number[][] = [];
  for await (const { index, token } of events) {
    const answer = answers[index] ?? [];
    answer.push(token);
    answers[index] = answer;
  }
  return answers;
}

test("requests at once give what each gives alone, in fewer passes", async () => {
  await complete({ model: MODEL, prompt: PROMPT }, PLACEMENT);
  const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
  const copies = ROWS / seeds.length;
  const alone = await counted(async () => {
    const answers = [];
    for (const seed of seeds) answers.push(await collect(sample(seed, copies)));
    return answers;
  });
  expect(alone).toMatchObject({ passes: seeds.length * TOKENS, rows: ROWS * TOKENS });
  const together = await counted(() => Promise.all(seeds.map((seed) => collect(sample(seed, copies)))));
  expect(together.result).toEqual(alone.result);
  expect(together.rows).toBe(alone.rows);
  expect(together.passes).toBeLessThan(alone.passes);
});

test("a client that does not read holds nobody, and gets its answer when it does", async () => {
  const expected = [await collect(sample(1, 4)), await collect(sample(2, ROWS))];
  const slow = sample(1, 4);
  const first = await slow.next();
  const others = await counted(() => collect(sample(2, ROWS)));
  expect(others.result).toEqual(expected[1]);
  // The slow one made no step meanwhile beyond what lay on its way already.
  expect(others.rows).toBeLessThan(ROWS * TOKENS + 4 * TOKENS);
  const rest = await collect(slow);
  const { index, token } = first.value as TokenEvent;
  rest[index]?.unshift(token);
  expect(rest).toEqual(expected[0]);
});

test("a client that leaves ends its own decoding only", async () => {
  const expected = await collect(sample(2, ROWS));
  const leaving = sample(1, 4);
  const { result, rows } = await counted(async () => {
    await leaving.next();
    const others = collect(sample(2, ROWS));
    await leaving.return();
    return others;
  });
  expect(result).toEqual(expected);
  expect(rows).toBeLessThan(ROWS * TOKENS + 4 * TOKENS);
  expect((await health()).open_sequences).toBe(0);
});

test("a request that is refused leaves the others as they are", async () => {
  const expected = await collect(sample(2, ROWS));
  const [refused, answered] = await Promise.all([
    complete({ model: MODEL, prompt: PROMPT, suppress_tokens: [9000] }, PLACEMENT),
    collect(sample(2, ROWS)),
  ]);
  expect(refused.status).toBe(400);
  expect(answered).toEqual(expected);
});
