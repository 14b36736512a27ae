/** The ledger over the real queue and database of workerd: what comes twice, late, or not at all. */
import { describe, expect, test, vi } from "vitest";
import { readEvents, recordEvents } from "../../src/metering/ledger.ts";
import { reportUsage } from "../../src/metering/report.ts";
import { bindingsFor, database } from "./isolate.ts";
import { brokenDatabase, deliver, deliveryOf, ledgerIds, makeEvent, NOON } from "./usage.ts";

const { USAGE } = bindingsFor();
const NOVEMBER = { start: Date.UTC(2026, 10), end: Date.UTC(2026, 11) };

const sumsOf = (tenant: string) =>
  database
    .prepare("SELECT sum(requests) AS requests, sum(input_tokens) AS input FROM usage_days WHERE tenant = ?1")
    .bind(tenant)
    .first<{ requests: number; input: number }>();

const letterOf = (id: string) =>
  database.prepare("SELECT * FROM dead_letters WHERE id = ?1").bind(id).first<{ body: string; reason: string }>();

describe("one event a request", () => {
  test("goes through the queue into the ledger, whole", async () => {
    const event = makeEvent({ tenant: "whole", adapter: "a", outcome: "cut_off", servedBy: "origin" });
    expect(await reportUsage({ queue: USAGE, db: database }, event)).toBe("queued");
    await vi.waitFor(async () => expect(await ledgerIds("whole")).toEqual([event.id]), { timeout: 20_000 });
    expect(await readEvents(database, "whole", NOVEMBER, 0, 10)).toEqual({ events: [event], next: null });
  });

  test("counts once when it is sent several times", async () => {
    const event = makeEvent({ tenant: "often" });
    const last = makeEvent({ tenant: "often" });
    for (const one of [event, event, event, last]) await reportUsage({ queue: USAGE, db: database }, one);
    await vi.waitFor(async () => expect(await ledgerIds("often")).toContain(last.id), { timeout: 20_000 });
    expect((await ledgerIds("often")).sort()).toEqual([event.id, last.id].sort());
    expect(await sumsOf("often")).toEqual({ requests: 2, input: 20 });
  });

  test("counts once when deliveries are doubled, in any order and in several batches", async () => {
    const events = Array.from({ length: 130 }, (_, i) => makeEvent({ tenant: "mixed", at: NOON + i * 1000 }));
    const deliveries = events.map(deliveryOf);
    const batches = [
      deliveries.slice(60).reverse(),
      [...deliveries.slice(0, 70), ...deliveries.slice(0, 70)],
      deliveries.slice(30, 100),
      deliveries.slice(0, 10).map((delivery) => ({ ...delivery, attempts: 4 })),
    ];
    for (const batch of batches) {
      const { acknowledged, retried } = await deliver(batch);
      expect(acknowledged).toHaveLength(batch.length);
      expect(retried).toEqual({});
    }
    expect((await ledgerIds("mixed")).sort()).toEqual(events.map(({ id }) => id).sort());
    expect(await sumsOf("mixed")).toEqual({ requests: 130, input: 1300 });
  });

  test("stays what it was first, and cannot be changed or removed", async () => {
    const event = makeEvent({ tenant: "first" });
    expect(await recordEvents(database, [event])).toEqual([event.id]);
    expect(await recordEvents(database, [{ ...event, inputTokens: 1_000_000, tenant: "second" }])).toEqual([]);
    expect((await readEvents(database, "first", NOVEMBER, 0, 10)).events).toEqual([event]);
    expect(await ledgerIds("second")).toEqual([]);
    for (const sql of [
      "UPDATE usage_events SET input_tokens = 0 WHERE id = ?1",
      "DELETE FROM usage_events WHERE id = ?1",
    ]) {
      await expect(database.prepare(sql).bind(event.id).run()).rejects.toThrow(/immutable/);
    }
  });
});

describe("a database that fails", () => {
  test("has the messages come again, each time later", async () => {
    const event = makeEvent({ tenant: "patient" });
    const waits: (number | undefined)[] = [];
    for (const attempts of [1, 2, 3, 30]) {
      const delivery = { ...deliveryOf(event), attempts };
      const { acknowledged, retried } = await deliver([delivery], { bindings: { DB: brokenDatabase } });
      expect(acknowledged).toEqual([]);
      waits.push(retried[delivery.id]);
    }
    expect(waits).toEqual([2, 4, 8, 3600]);
    await deliver([deliveryOf(event)]);
    expect(await ledgerIds("patient")).toEqual([event.id]);
  });

  test("has neither ledger nor dead letters acknowledge what they did not write", async () => {
    const deliveries = [{ id: "no event", body: { id: 7 } }, deliveryOf(makeEvent())];
    for (const name of ["edge-t5-usage", "edge-t5-usage-dead"]) {
      const { acknowledged, retried } = await deliver(deliveries, { name, bindings: { DB: brokenDatabase } });
      expect(acknowledged).toEqual([]);
      expect(Object.keys(retried).sort()).toEqual(deliveries.map(({ id }) => id).sort());
    }
  });

  test("or that refuses one event only: the others are written, and that one comes again", async () => {
    const events = Array.from({ length: 6 }, () => makeEvent({ tenant: "picky" }));
    const refused = events[2]!;
    await database
      .prepare(
        `CREATE TRIGGER refuse_one BEFORE INSERT ON usage_events WHEN NEW.id = '${refused.id}' BEGIN SELECT RAISE(ABORT, 'no'); END`,
      )
      .run();
    const { acknowledged, retried } = await deliver(events.map(deliveryOf));
    await database.prepare("DROP TRIGGER refuse_one").run();
    expect(acknowledged).toHaveLength(5);
    expect(retried).toEqual({ [deliveryOf(refused).id]: 2 });
    expect(await ledgerIds("picky")).toEqual(events.filter((event) => event !== refused).map(({ id }) => id));
  });

  test("and goes on failing: the queue hands the message to the dead letters", async () => {
    const event = makeEvent({ tenant: "unlucky" });
    // Only this event is refused, by the database itself.
    await database
      .prepare(
        `CREATE TRIGGER refuse BEFORE INSERT ON usage_events WHEN NEW.id = '${event.id}' BEGIN SELECT RAISE(ABORT, 'no'); END`,
      )
      .run();
    await USAGE.send(event, { contentType: "json" });
    await vi.waitFor(async () => expect(await letterOf(event.id)).not.toBeNull(), { timeout: 30_000, interval: 200 });
    expect(await letterOf(event.id)).toMatchObject({ reason: "undelivered", body: JSON.stringify(event) });
    expect(await ledgerIds("unlucky")).toEqual([]);
    await database.prepare("DROP TRIGGER refuse").run();
  });
});

test("what is no event blocks nobody: it is kept with the reason", async () => {
  const good = [makeEvent({ tenant: "beside" }), makeEvent({ tenant: "beside" })];
  const bad = [
    { id: "m1", body: { ...makeEvent(), id: "bad-1", inputTokens: -1 } },
    { id: "m2", body: "text" },
    { id: "m3", body: { ...makeEvent(), id: "bad-2", prompt: "must not be here" } },
  ];
  const batch = [deliveryOf(good[0]!), ...bad, deliveryOf(good[1]!)];
  const { acknowledged } = await deliver(batch);
  expect(acknowledged.sort()).toEqual(batch.map(({ id }) => id).sort());
  expect(await ledgerIds("beside")).toEqual(good.map(({ id }) => id));
  expect(await letterOf("bad-1")).toMatchObject({ reason: expect.stringMatching(/^inputTokens: /) });
  expect(await letterOf("message:m2")).toMatchObject({ body: '"text"' });
  expect(await letterOf("bad-2")).toMatchObject({ reason: expect.stringMatching(/prompt/) });
});

describe("a queue that fails", () => {
  const queue = { send: () => Promise.reject(new Error("Queue is overloaded")) };

  test("is gone round: the event is written at once, and counts once if it comes after all", async () => {
    const event = makeEvent({ tenant: "direct" });
    expect(await reportUsage({ queue, db: database }, event)).toBe("written");
    await deliver([deliveryOf(event)]);
    expect(await ledgerIds("direct")).toEqual([event.id]);
    expect(await sumsOf("direct")).toEqual({ requests: 1, input: 10 });
  });

  test("beside a database that fails: the log has the event, the request goes on", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    const event = makeEvent({ tenant: "logged" });
    try {
      expect(await reportUsage({ queue, db: brokenDatabase }, event)).toBe("lost");
      expect(log).toHaveBeenCalledTimes(1);
      expect(JSON.parse(String(log.mock.calls[0]?.[0]))).toEqual({
        time: expect.any(String),
        level: "error",
        msg: "usage_event_lost",
        usage: event,
        errors: ["Error: Queue is overloaded", "Error: D1_ERROR: no database"],
      });
    } finally {
      log.mockRestore();
    }
  });
});

describe("pages of events", () => {
  test("neither lose nor double one while others arrive, late ones included", async () => {
    const events = Array.from({ length: 25 }, (_, i) => makeEvent({ tenant: "pages", at: NOON + i }));
    await recordEvents(database, events);
    const seen: string[] = [];
    const late: string[] = [];
    for (let after: number | null = 0, page = 0; after !== null; page++) {
      const { events: got, next }: Awaited<ReturnType<typeof readEvents>> = await readEvents(
        database,
        "pages",
        NOVEMBER,
        after,
        7,
      );
      seen.push(...got.map(({ id }) => id));
      after = next;
      if (page < 2) {
        // Of a time before all others, and of another tenant.
        const more = [makeEvent({ tenant: "pages", at: NOON - 1000 }), makeEvent({ tenant: "other" })];
        await recordEvents(database, more);
        late.push(more[0]!.id);
      }
    }
    expect(seen).toEqual([...events.map(({ id }) => id), ...late]);
  });

  test("hold only the period's", async () => {
    const times = [NOVEMBER.start - 1, NOVEMBER.start, NOVEMBER.end - 1, NOVEMBER.end];
    const events = times.map((at) => makeEvent({ tenant: "bounds", at }));
    await recordEvents(database, events);
    const { events: got } = await readEvents(database, "bounds", NOVEMBER, 0, 10);
    expect(got.map(({ at }) => at)).toEqual([NOVEMBER.start, NOVEMBER.end - 1]);
  });
});
