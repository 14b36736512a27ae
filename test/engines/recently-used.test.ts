/** The few that were used last. */
import { expect, test } from "vitest";
import { RecentlyUsed } from "../../src/engines/recently-used.ts";

test("loads once for all who ask, and again what was used longest ago when there were others", async () => {
  const loads: string[] = [];
  const used = new RecentlyUsed<string>(2);
  const get = (key: string) =>
    used.get(key, async () => {
      loads.push(key);
      return key;
    });
  await Promise.all([get("a"), get("a"), get("b")]);
  await get("a");
  await get("c");
  expect([...used.entries()].map(([key]) => key)).toEqual(["a", "c"]);
  await get("a");
  await get("b");
  expect(loads).toEqual(["a", "b", "c", "b"]);
});

test("loads again what failed, and forgets no later load for it", async () => {
  const used = new RecentlyUsed<number>(1);
  const { promise, reject } = Promise.withResolvers<number>();
  const failing = used.get("a", () => promise);
  await used.get("b", async () => 1);
  const later = used.get("a", async () => 2);
  reject(new Error("no room"));
  await expect(failing).rejects.toThrow("no room");
  expect(used.get("a", async () => 3)).toBe(later);
  const broken = new RecentlyUsed<number>(1);
  await expect(broken.get("a", () => Promise.reject(new Error("gone")))).rejects.toThrow("gone");
  expect(await broken.get("a", async () => 4)).toBe(4);
});
