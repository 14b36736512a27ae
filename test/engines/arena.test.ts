import fc from "fast-check";
import { expect, test } from "vitest";
import { Arena, type Block } from "../../src/engines/arena.ts";

test("blocks never overlap nor leave the region, and all room comes back, whatever is taken and given", () => {
  const bytes = fc.integer({ min: 1, max: 40 });
  const action = fc.oneof(fc.record({ take: bytes }), fc.record({ takeLast: bytes }), fc.record({ give: fc.nat() }));
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const arena = new Arena(1000, 100);
      const taken: Block[] = [];
      for (const each of actions) {
        if ("take" in each) {
          const block = arena.take(each.take);
          if (block) taken.push(block);
        } else if ("takeLast" in each) {
          const block = arena.takeLast(each.takeLast);
          if (block) taken.push(block);
        } else if (taken.length > 0) {
          arena.give(taken.splice(each.give % taken.length, 1)[0]!);
        }
        const sorted = taken.toSorted((a, b) => a.at - b.at);
        let end = 1000;
        for (const { at, bytes } of sorted) {
          expect(at).toBeGreaterThanOrEqual(end);
          end = at + bytes;
        }
        expect(end).toBeLessThanOrEqual(1100);
        expect(arena.freeBytes).toBe(100 - taken.reduce((sum, { bytes }) => sum + bytes, 0));
      }
      for (const block of taken) arena.give(block);
      expect(arena.take(100)).toEqual({ at: 1000, bytes: 100 });
    }),
  );
});

test("a block of the end leaves the rest in one piece", () => {
  const arena = new Arena(1000, 100);
  expect(arena.takeLast(30)).toEqual({ at: 1070, bytes: 30 });
  expect(arena.take(70)).toEqual({ at: 1000, bytes: 70 });
  expect(arena.takeLast(1)).toBeNull();
});
