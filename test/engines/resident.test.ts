import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type Attempt, Resident } from "../../src/engines/resident.ts";

const kept: Promise<unknown>[] = [];
const keepAlive = (work: Promise<unknown>) => void kept.push(work);

describe("Resident", () => {
  test("loads once for all who ask at the same time, and keeps it", async () => {
    const resident = new Resident<number>();
    const load = async () => {
      await delay(10);
      return 7;
    };
    expect(resident.state).toBe("absent");
    const all = [1, 2, 3].map(() => resident.get(load, keepAlive));
    expect(resident.state).toBe("loading");
    expect(await Promise.all(all)).toEqual([7, 7, 7]);
    expect(await resident.get(() => Promise.reject(new Error("not asked")), keepAlive)).toBe(7);
    expect(resident).toMatchObject({ state: "loaded", loads: 1, failures: 0, value: 7 });
  });

  test("a load that fails fails for all who wait, and the next one who asks tries again", async () => {
    const resident = new Resident<number>();
    const fail = async () => {
      await delay(5);
      throw new Error("storage is down");
    };
    const outcomes = await Promise.allSettled([resident.get(fail, keepAlive), resident.get(fail, keepAlive)]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(resident).toMatchObject({ state: "absent", loads: 1, failures: 1 });
    expect(await resident.get(async () => 8, keepAlive)).toBe(8);
    expect(resident).toMatchObject({ loads: 2, failures: 1 });
  });

  test("the request that began a load is kept alive until it has ended, even when it fails", async () => {
    const resident = new Resident<number>();
    kept.length = 0;
    await expect(resident.get(() => Promise.reject(new Error("down")), keepAlive)).rejects.toThrow("down");
    expect(kept).toHaveLength(1);
    await expect(kept[0]).resolves.toBeUndefined();
  });

  test("a load whose request died is taken over: it is told to stop, and what it still gives does not count", async () => {
    const resident = new Resident<string>(20);
    const attempts: Attempt[] = [];
    let revive = (_: string) => {};
    const load = (attempt: Attempt) => {
      attempts.push(attempt);
      if (attempts.length > 1) return Promise.resolve("second");
      return new Promise<string>((resolve) => {
        revive = resolve;
      });
    };
    const both = [resident.get(load, keepAlive), resident.get(load, keepAlive)];
    expect(await Promise.all(both)).toEqual(["second", "second"]);
    expect(attempts[0]?.signal.aborted).toBe(true);
    expect(attempts[1]?.signal.aborted).toBe(false);
    revive("first");
    await delay(1);
    expect(resident.value).toBe("second");
    expect(resident).toMatchObject({ loads: 2, failures: 1 });
  });

  test("a load that goes on is waited for, however long it takes", async () => {
    const resident = new Resident<string>(20);
    const slow = async ({ touch }: Attempt) => {
      for (let i = 0; i < 15; i++) {
        await delay(5);
        touch();
      }
      return "slow";
    };
    const both = [resident.get(slow, keepAlive), resident.get(slow, keepAlive)];
    expect(await Promise.all(both)).toEqual(["slow", "slow"]);
    expect(resident.loads).toBe(1);
  });
});
