/** Dead letters as the operator sees them: kept, listed, replayed once. */
import { expect, test } from "vitest";
import { ADMIN_TOKEN, database, type ErrorBody, sendAs } from "./isolate.ts";
import { deliver, deliveryOf, ledgerIds, makeEvent } from "./usage.ts";

interface Letter {
  id: string;
  reason: string;
  body: unknown;
  replayed_at: string | null;
}

interface Page {
  data: Letter[];
  has_more: boolean;
  last_id: string | null;
}

const asAdmin = <Json>(method: string, path: string) => sendAs<Json & ErrorBody>(ADMIN_TOKEN, method, path);
const die = (events: readonly ReturnType<typeof makeEvent>[]) =>
  deliver(events.map(deliveryOf), { name: "edge-t5-usage-dead" });

const idsOf = async (query = "") =>
  (await asAdmin<Page>("GET", `/admin/dead-letters?limit=100${query}`)).json.data.map(({ id }) => id);

test("a dead letter is kept, and replayed into the ledger once", async () => {
  const event = makeEvent({ tenant: "dead" });
  for (let i = 0; i < 3; i++) expect((await die([event])).acknowledged).toHaveLength(1);
  const { json } = await asAdmin<Page>("GET", "/admin/dead-letters");
  expect(json.data.filter(({ id }) => id === event.id)).toMatchObject([
    { object: "dead_letter", reason: "undelivered", body: event, replayed_at: null },
  ]);
  expect(await ledgerIds("dead")).toEqual([]);

  const replay = () => asAdmin("POST", `/admin/dead-letters/${event.id}/replay`);
  expect(await replay()).toMatchObject({ status: 200, json: { replayed: 1, new_events: 1 } });
  expect(await replay()).toMatchObject({ status: 200, json: { replayed: 1, new_events: 0 } });
  await deliver([deliveryOf(event)]);
  await die([event]);
  expect(await ledgerIds("dead")).toEqual([event.id]);
  const sums = await database.prepare("SELECT requests FROM usage_days WHERE tenant = 'dead'").all();
  expect(sums.results).toEqual([{ requests: 1 }]);
  expect(await idsOf()).not.toContain(event.id);
  expect(await idsOf("&replayed=true")).toContain(event.id);
});

test("are kept whatever the deployment is called, also when its own name ends like a queue's", async () => {
  for (const name of ["shop-t5", "a-usage-dead"]) {
    const [dead, alive] = [makeEvent({ tenant: name }), makeEvent({ tenant: name })];
    await deliver([deliveryOf(dead)], { name: `${name}-usage-dead` });
    await deliver([deliveryOf(alive)], { name: `${name}-usage` });
    expect(await ledgerIds(name)).toEqual([alive.id]);
    expect(await idsOf()).toContain(dead.id);
    expect(await idsOf()).not.toContain(alive.id);
    await asAdmin("POST", `/admin/dead-letters/${dead.id}/replay`);
  }
});

test("all are replayed at once; what is no event is passed over and stays", async () => {
  const events = Array.from({ length: 230 }, () => makeEvent({ tenant: "many" }));
  for (let i = 0; i < events.length; i += 100) await die(events.slice(i, i + 100));
  // One of them was written after all.
  await deliver([deliveryOf(events[7]!)]);
  await deliver([{ id: "no-event", body: { ...makeEvent(), id: "no-event", at: "noon" } }]);
  const { json } = await asAdmin("POST", "/admin/dead-letters/replay");
  expect(json).toMatchObject({ replayed: 230, new_events: 229, invalid: 1 });
  expect((await ledgerIds("many")).sort()).toEqual(events.map(({ id }) => id).sort());
  expect(await idsOf()).toEqual(["no-event"]);
  expect((await asAdmin("POST", "/admin/dead-letters/replay")).json).toMatchObject({ replayed: 0, new_events: 0 });
  expect(await asAdmin("POST", "/admin/dead-letters/no-event/replay")).toMatchObject({
    status: 422,
    json: { error: { code: "invalid_event" } },
  });
  expect(await asAdmin("POST", "/admin/dead-letters/nothing/replay")).toMatchObject({
    status: 404,
    json: { error: { code: "dead_letter_not_found" } },
  });
});

test("they are listed in pages", async () => {
  await die(Array.from({ length: 5 }, (_, i) => makeEvent({ tenant: "listed", id: `zz-${i}` })));
  const seen: string[] = [];
  for (let after = "zz"; ; ) {
    const { json }: { json: Page } = await asAdmin("GET", `/admin/dead-letters?limit=2&after=${after}`);
    seen.push(...json.data.map(({ id }) => id));
    if (!json.has_more) break;
    after = json.last_id ?? "";
  }
  expect(seen).toEqual([0, 1, 2, 3, 4].map((i) => `zz-${i}`));
});
