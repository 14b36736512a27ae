import { describe, expect, test } from "vitest";
import { withFallback } from "../../src/placement/fallback.ts";

async function* failing(items: readonly number[], error = new Error("lost")) {
  yield* items;
  throw error;
}

async function* whole(items: readonly number[]) {
  yield* items;
}

async function read(items: AsyncIterable<number>): Promise<(number | string)[]> {
  const all: (number | string)[] = [];
  try {
    for await (const item of items) all.push(item);
  } catch (error) {
    all.push((error as Error).message);
  }
  return all;
}

const second = () => whole([7, 8]);
const always = () => true;

describe("an answer with a second way", () => {
  test("that comes by the first way never takes it", async () => {
    const never = () => failing([]);
    expect(await read(withFallback(whole([1, 2]), never, false, always))).toEqual([1, 2]);
    expect(await read(withFallback(whole([1, 2]), never, true, always))).toEqual([1, 2]);
  });

  test("takes it when the first fails before anything was given", async () => {
    expect(await read(withFallback(failing([]), second, false, always))).toEqual([7, 8]);
    expect(await read(withFallback(failing([]), second, false, () => false))).toEqual(["lost"]);
  });

  test("ends with the error once something was given, unless the whole was waited for", async () => {
    expect(await read(withFallback(failing([1]), second, false, always))).toEqual([1, "lost"]);
    expect(await read(withFallback(failing([1]), second, true, always))).toEqual([7, 8]);
  });

  test("ends the first way when nobody reads on", async () => {
    let isEnded = false;
    async function* endless() {
      try {
        for (;;) yield 1;
      } finally {
        isEnded = true;
      }
    }
    for await (const _ of withFallback(endless(), second, false, always)) break;
    expect(isEnded).toBe(true);
  });
});
