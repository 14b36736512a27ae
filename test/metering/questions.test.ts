import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  eventsCursor,
  parseEventsQuery,
  parseInvoiceMonth,
  parseUsageQuery,
  usageCursor,
} from "../../src/api/metering.ts";
import { dayOf, parseDay, parseMonth } from "../../src/metering/period.ts";
import { USAGE_GROUPS } from "../../src/metering/usage.ts";

const NOW = Date.UTC(2026, 10, 24, 11);

describe("days and months", () => {
  it("cover every moment once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Date.UTC(2100, 0) }), (at) => {
        const day = parseDay(dayOf(at));
        const month = parseMonth(dayOf(at).slice(0, 7));
        expect(day && day.start <= at && at < day.end).toBe(true);
        expect(month && month.start <= at && at < month.end).toBe(true);
        expect(dayOf(day!.end)).not.toBe(dayOf(at));
      }),
    );
  });

  it.each(["2026-02-29", "2026-13-01", "2026-00-10", "2026-1-1", "26-01-01", "2026-01-01T00:00", ""])(
    "%j is no day",
    (text) => {
      expect(parseDay(text)).toBeNull();
    },
  );

  it.each(["2026-00", "2026-13", "2026-1", "0050-01", "2026-01-01", ""])("%j is no month", (text) => {
    expect(parseMonth(text)).toBeNull();
  });

  it("a leap day is one, and December ends with the year", () => {
    expect(parseDay("2028-02-29")).not.toBeNull();
    expect(parseMonth("2026-12")).toEqual({ start: Date.UTC(2026, 11), end: Date.UTC(2027, 0) });
  });
});

describe("questions about usage", () => {
  it("are about this month so far, by day, unless they say otherwise", () => {
    const question = parseUsageQuery({}, NOW);
    expect(question).toMatchObject({ from: "2026-11-01", to: "2026-11-24", by: ["day"], limit: 100, mark: null });
    expect(question.period).toEqual({ start: Date.UTC(2026, 10, 1), end: Date.UTC(2026, 10, 25) });
  });

  it("a day in another month begins with that month", () => {
    expect(parseUsageQuery({ to: "2026-09-10" }, NOW)).toMatchObject({ from: "2026-09-01", to: "2026-09-10" });
  });

  it("go on with a cursor alone, whatever names are in it and whatever day it has become", () => {
    const groups = fc.shuffledSubarray([...USAGE_GROUPS], { minLength: 1 });
    const text = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(groups, fc.nat(), fc.array(text, { minLength: 4, maxLength: 4 }), (by, snapshot, names) => {
        const question = parseUsageQuery({ group_by: by.join(","), from: "2026-11-02" }, NOW);
        const mark = { snapshot, after: names.slice(0, by.length) };
        const cursor = usageCursor(question, mark);
        expect(cursor).toMatch(/^[\w-]+$/);
        expect(parseUsageQuery({ cursor }, NOW + 90 * 86_400_000)).toEqual({ ...question, mark });
      }),
    );
    const events = parseEventsQuery({}, NOW);
    expect(parseEventsQuery({ cursor: eventsCursor(events, 17) }, NOW + 1e9)).toEqual({ ...events, after: 17 });
  });

  it("take no cursor that is not theirs", () => {
    const question = parseUsageQuery({ group_by: "key" }, NOW);
    const short = usageCursor(question, { snapshot: 1, after: [] });
    const events = eventsCursor(parseEventsQuery({}, NOW), 1);
    for (const cursor of [short, events, "", "e30", "%%%", `${events}x`]) {
      expect(() => parseUsageQuery({ cursor }, NOW)).toThrow(expect.objectContaining({ code: "invalid_cursor" }));
    }
  });
});

describe("months of invoices", () => {
  it("may be this one and earlier ones", () => {
    expect(parseInvoiceMonth("2026-11", NOW)).toBe("2026-11");
    expect(parseInvoiceMonth("2025-01", NOW)).toBe("2025-01");
    expect(() => parseInvoiceMonth("2026-12", NOW)).toThrow(/has not begun/);
  });
});
