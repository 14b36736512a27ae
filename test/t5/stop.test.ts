import fc from "fast-check";
import { expect, test } from "vitest";
import { StopFinder } from "../../src/t5/generation/stop.ts";

test("however a text is cut into pieces, what comes before the stop string that is whole first is given out, no more", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "ä"), maxLength: 30 });
  const stop = fc.string({ unit: fc.constantFrom("a", "b", "ä"), minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(letters, fc.array(stop, { maxLength: 3 }), fc.array(fc.nat(5)), (text, stops, cuts) => {
      const finder = new StopFinder(stops);
      let given = "";
      let at = 0;
      for (const cut of [...cuts, text.length]) {
        given += finder.push(text.slice(at, at + cut));
        at += cut;
        // What was given out is never taken back.
        expect(text.startsWith(given)).toBe(true);
      }
      given += finder.finish();
      // Letter by letter: the first end of the text that is a stop string, the longest of them.
      const ends = Array.from(text, (_, i) => i).flatMap((i) =>
        stops.filter((each) => text.slice(0, i + 1).endsWith(each)).map((each) => [i, each] as const),
      );
      const [end] = ends[0] ?? [];
      const longest = Math.max(...ends.filter(([i]) => i === end).map(([, each]) => each.length));
      expect(finder.found).toBe(end !== undefined);
      expect(given).toBe(end === undefined ? text : text.slice(0, end + 1 - longest));
    }),
    { numRuns: 5000 },
  );
});
