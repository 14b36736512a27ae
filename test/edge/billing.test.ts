/** Prices, usage and invoices from the command line, against the running kit. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { getPlatformProxy } from "wrangler";
import { COMMANDS, type CommandEntry, type CommandGroup } from "../../src/cli/commands.ts";
import { migrateLocal } from "../../src/local/storage.ts";
import type { Database } from "../../src/metering/database.ts";
import type { UsageEvent } from "../../src/metering/event.ts";
import { recordEvents } from "../../src/metering/ledger.ts";
import { edgeT5 } from "../cli/process.ts";
import { Kit } from "./kit.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const START_MS = 120_000;
const EVENTS = 1100;

let dir: string;
let kit: Kit;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-billing-"));
  const state = join(dir, "state");
  await migrateLocal(ROOT, state);
  const platform = await getPlatformProxy<{ DB: Database }>({
    configPath: join(state, "storage.json"),
    persist: { path: join(state, "v3") },
    remoteBindings: false,
  });
  await recordEvents(
    platform.env.DB,
    Array.from({ length: EVENTS }, (_, i) => eventOf(i)),
  );
  await platform.dispose();
  kit = await Kit.start(state);
}, START_MS);
afterAll(async () => {
  await kit?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Of two tasks, all of January 2026. */
function eventOf(i: number): UsageEvent {
  return {
    id: `event-${i}`,
    tenant: "acme",
    key: "et5_0123456789",
    task: i % 2 ? "summarize" : null,
    taskVersion: i % 2 ? 1 : null,
    model: "default",
    adapter: null,
    inputTokens: 10,
    outputTokens: 5,
    trainingTokens: 0,
    workUnits: 15,
    servedBy: "edge",
    outcome: "ok",
    at: Date.UTC(2026, 0, 1 + (i % 31), 12),
    durationMs: 9,
  };
}

const run = (...args: string[]) => edgeT5(args, { env: { EDGE_T5_URL: kit.url, EDGE_T5_ADMIN_TOKEN: kit.adminToken } });
async function json(...args: string[]): Promise<Record<string, never>> {
  const { code, stdout, stderr } = await run(...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

const JANUARY = ["--from", "2026-01-01", "--to", "2026-01-31"];

test("prices are set, listed by what they are for, and withdrawn before they hold", async () => {
  expect((await run("price", "list")).stdout).toMatch(/^There are no prices/);
  const all = await run("price", "set", "--input", "0.0015", "--output", "0.003", "--training", "0.004");
  expect(all).toMatchObject({ code: 0, stderr: "" });
  expect(all.stdout).toMatch(/^Price 1 holds for everything from 20/);
  expect(await json("price", "set", "--model", "default", "--request", "0.000000001")).toMatchObject({
    model: "default",
    per_request: "0.000000001",
  });
  const later = ["--tenant", "acme", "--task", "summarize", "--adapter-day", "0.05", "--from", "2099-01-01"];
  const unknown = await run("price", "set", ...later);
  expect(unknown).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/404.*tenant_not_found/) });
  await json("tenant", "create", "acme");
  const { stdout: scheduled, stderr: note } = await run("price", "set", ...later);
  expect(note).toMatch(/^Note: acme has no task summarize yet/);
  expect(scheduled).toMatch(/^Price 3 holds for acme's task summarize from 2099-01-01T00:00:00.000Z on:\n/);
  expect(scheduled).toMatch(/^0 +0 +0 +0 +0\.05$/m);
  const listed = await run("price", "list");
  expect(listed.stdout).toMatch(/^1 +everything +0\.0015 +0\.003 +0\.004 +0 +0 +20\S+ +current$/m);
  expect(listed.stdout).toMatch(/^2 +model default /m);
  expect(listed.stdout).not.toContain("summarize");
  expect((await run("price", "list", "--all")).stdout).toMatch(/^3 +acme's task summarize .* scheduled$/m);
  expect((await run("price", "withdraw", "3")).stdout).toBe("Price 3 is withdrawn.\n");
  expect((await json("price", "list", "--all")).data).toHaveLength(2);
  const changed = await run("price", "set", "--output", "0.005");
  expect(changed.stdout).toMatch(/^0\.0015 +0\.005 +0\.004 +0 +0$/m);
});

test("usage is shown as sums, events and an invoice, as text, JSON and CSV", async () => {
  await json("tenant", "create", "quiet");
  const sums = await run("usage", "--tenant", "acme", "--by", "task", ...JANUARY);
  expect(sums).toMatchObject({ code: 0, stderr: "" });
  expect(sums.stdout).toMatch(/^TENANT +TASK +REQUESTS +INPUT TOKENS +OUTPUT TOKENS +TRAINING TOKENS +\$\n/);
  expect(sums.stdout).toMatch(/^acme +– +550 +5,500 +2,750 +0 +0$/m);
  expect(sums.stdout).toMatch(/^acme +summarize +550 +5,500 +2,750 +0 +0$/m);
  expect((await json("usage", "--by", "day,task", ...JANUARY)).data).toHaveLength(62);
  expect((await run("usage", "--tenant", "quiet")).stdout).toBe("Nothing was used.\n");
  const csv = await run("usage", "--tenant", "acme", "--by", "task", "--csv", ...JANUARY);
  expect(csv.stdout.split("\r\n")[2]).toBe("summarize,550,0,5500,2750,0,8250,0");

  expect((await json("usage", "events", "--tenant", "acme", ...JANUARY)).data).toHaveLength(EVENTS);
  const ledger = await run("usage", "events", "--tenant", "acme", "--csv", ...JANUARY);
  expect(ledger.stdout.trimEnd().split("\r\n")).toHaveLength(EVENTS + 1);

  const invoice = await run("usage", "invoice", "--tenant", "acme", "--month", "2026-01");
  expect(invoice.stdout).toMatch(/^Invoice of acme for 2026-01: \$0\n/);
  expect(invoice.stdout).toMatch(/^summarize +default +550 +5,500 +2,750 +0 +none +0$/m);
  expect(await json("usage", "invoice", "--tenant", "acme", "--month", "2026-01")).toMatchObject({
    status: "closed",
    total: "0",
    usage: [{ requests: 550 }, { requests: 550 }],
  });
  expect((await run("usage", "invoice", "--tenant", "acme")).stdout).toMatch(/ so far: \$0\n$/);
  const bill = await run("usage", "invoice", "--tenant", "acme", "--month", "2026-01", "--csv");
  expect(bill.stdout).toMatch(/^kind,month,task,/);
});

describe("what cannot be done is said in words", () => {
  test.each([
    [["price", "set"], /^E_USAGE: No amount is given/],
    [["price", "set", "--input", "0.00000001"], /^E_INPUT: .*400.*at most 6 digits/],
    [["price", "set", "--input", "1", "--from", "2020-01-01"], /^E_INPUT: .*price_in_the_past/],
    [["price", "set", "--input", "1", "--from", "soon"], /^E_USAGE: --from is "soon"/],
    [["price", "withdraw", "1"], /^E_INPUT: .*409.*price_in_force/],
    [["usage", "invoice"], /^E_USAGE: --tenant is missing/],
    [["usage", "invoices"], /^E_USAGE: "invoices" is not known here/],
    [["usage", "--tenant", "nobody"], /^E_INPUT: .*404.*tenant_not_found/],
    [["usage", "--tenant", "acme", "--by", "hour"], /^E_INPUT: .*400.*group_by/],
    [["usage", "--month", "2026-01"], /^E_USAGE: --month belongs to usage invoice/],
    [["usage", "invoice", "--tenant", "acme", "--from", "2026-01-01"], /^E_USAGE: An invoice is of a whole month/],
    [["usage", "--json", "--csv"], /exclude each other/],
  ])("%j", async (args, message) => {
    expect(await run(...args)).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(message) });
  });
});

test("help has every command and its examples", async () => {
  const { commands } = COMMANDS.price as CommandGroup;
  for (const [name, entry] of Object.entries(commands)) {
    const help = await run("price", name, "--help");
    for (const example of (entry as CommandEntry).examples) expect(help.stdout).toContain(`  ${example}`);
  }
  const help = await run("usage", "--help");
  for (const example of (COMMANDS.usage as CommandEntry).examples) expect(help.stdout).toContain(`  ${example}`);
});
