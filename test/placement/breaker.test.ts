import { describe, expect, test } from "vitest";
import { CircuitBreaker } from "../../src/placement/breaker.ts";

const PROBE_MS = 500;

function opened(at = 0): CircuitBreaker {
  const breaker = new CircuitBreaker(PROBE_MS);
  for (let i = 0; i < 3; i++) {
    expect(breaker.admit(at)).toBe(true);
    breaker.fail(at);
  }
  return breaker;
}

describe("a circuit breaker", () => {
  test("opens at the third failure in a row, not sooner", () => {
    const breaker = new CircuitBreaker(PROBE_MS);
    for (const fails of [true, true, false, true, true]) {
      expect(breaker.admit(0)).toBe(true);
      if (fails) breaker.fail(0);
      else breaker.succeed();
    }
    expect(breaker.state).toBe("closed");
    breaker.fail(0);
    expect([breaker.state, breaker.admit(999), breaker.secondsLeft(1)]).toEqual(["open", false, 1]);
  });

  test("lets one probe through, and all when it went well", () => {
    const breaker = opened();
    expect([breaker.admit(1_000), breaker.admit(1_000), breaker.state]).toEqual([true, false, "half-open"]);
    breaker.succeed();
    expect([breaker.admit(1_000), breaker.admit(1_000), breaker.state]).toEqual([true, true, "closed"]);
  });

  test("rests twice as long after each probe that failed, up to half a minute", () => {
    const breaker = opened();
    const rests: number[] = [];
    for (let now = 1_000; rests.length < 7; ) {
      expect(breaker.admit(now)).toBe(true);
      breaker.fail(now);
      const rest = breaker.secondsLeft(now) * 1_000;
      expect(breaker.admit(now + rest - 1)).toBe(false);
      rests.push(rest / 1_000);
      now += rest;
    }
    expect(rests).toEqual([2, 4, 8, 16, 30, 30, 30]);
    breaker.succeed();
    for (let i = 0; i < 3; i++) breaker.fail(0);
    expect(breaker.secondsLeft(0)).toBe(1);
  });

  test("a probe whose client left, or that was lost, is followed by another", () => {
    const breaker = opened();
    expect(breaker.admit(1_000)).toBe(true);
    breaker.leave();
    expect([breaker.admit(1_001), breaker.admit(1_001 + PROBE_MS - 1), breaker.admit(1_001 + PROBE_MS)]).toEqual([
      true,
      false,
      true,
    ]);
  });

  test("failures of requests that were under way when it opened do not prolong its rest", () => {
    const breaker = opened();
    breaker.fail(900);
    expect(breaker.admit(1_000)).toBe(true);
  });
});
