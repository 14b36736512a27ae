/** The first run: what `edge-t5 start` makes and prints, and that every line of it works when it is pasted. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { edgeT5 } from "../cli/process.ts";
import { Kit } from "./kit.ts";

const START_MS = 120_000;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-first-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function start(state: string, args: readonly string[]): Promise<Kit> {
  const kit = await Kit.start(state, args);
  onTestFinished(async () => void (await kit.stop()));
  return kit;
}

/** As a shell runs what was printed, in the kit's folder. */
async function paste(lines: string): Promise<string> {
  const { stdout } = await promisify(execFile)(
    "bash",
    ["-c", `set -e\n${lines.replaceAll("curl ", "curl -sS --fail-with-body ")}`],
    {
      cwd: ROOT,
      env: { ...process.env, EDGE_T5_URL: "", EDGE_T5_ADMIN_TOKEN: "" },
    },
  );
  return stdout;
}

test("a tenant with four tasks, a price and a key; each printed line works; a second start prints the same key", {
  timeout: 2 * START_MS,
}, async () => {
  const state = join(dir, "state");
  const first = await start(state, ["--demo", "--origin"]);
  const key = /export KEY=(et5_\S+)/.exec(first.output)?.[1] ?? "";
  expect((await stat(join(state, "demo-key.txt"))).mode & 0o777).toBe(0o600);
  const parts = first.output.split(/In another terminal:|Or try it in a browser:|What the tenant demo used.*:/);
  const [asking = "", link = "", telling = ""] = parts.slice(1);
  expect(link.trim()).toBe(`http://localhost:${new URL(first.url).port}/#key=${key}`);
  const [de, fr, summary, section, completion] = (await paste(asking.replaceAll("\n  curl", "\necho; curl")))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(de).toMatchObject({ task: "translate-de", output: "Das Haus ist alt." });
  expect(fr).toMatchObject({ task: "translate-fr", output: "Où est mon livre ?" });
  expect(summary).toMatchObject({ task: "summarize", output: expect.stringMatching(/image/) });
  expect(section).toMatchObject({ task: "classify-package", label: "games" });
  expect(section.scores).toHaveLength(38);
  expect(completion.choices[0].text).toBe("Das Haus ist alt.");

  const used = async () => {
    const answer = await fetch(`${first.url}/v1/usage?group_by=task`, { headers: { authorization: `Bearer ${key}` } });
    return ((await answer.json()) as { data: { requests: number; amount: string }[] }).data;
  };
  await expect.poll(async () => (await used()).length, { timeout: 20_000 }).toBe(5);
  expect((await used()).every(({ requests, amount }) => requests === 1 && Number(amount) > 0)).toBe(true);
  const tables = await paste(telling.replace(/^ *npx edge-t5 demo traffic$/m, ""));
  expect(tables).toMatch(/^demo +classify-package +1 /m);
  expect(tables).toMatch(/^Invoice of demo for \d{4}-\d{2} so far: \$0\.0\d+$/m);

  // The origin that was started beside the Workers does a batch.
  const rows = join(dir, "rows.jsonl");
  const body = { model: "translate-de", prompt: "The house is old." };
  await writeFile(rows, JSON.stringify({ custom_id: "1", method: "POST", url: "/v1/completions", body }));
  const out = join(dir, "answers.jsonl");
  const batch = await edgeT5(["batch", "run", rows, "--url", first.url, "--key", key, "--out", out]);
  expect(batch.stdout).toMatch(/has completed: 1 of 1 rows, 0 failed/);
  expect(await readFile(out, "utf8")).toContain('"text":"Das Haus ist alt."');

  // What was changed since stays so.
  const env = { EDGE_T5_URL: first.url, EDGE_T5_ADMIN_TOKEN: first.adminToken };
  const change = ["task", "put", "demo", "summarize", "--model", "default", "--template", "summarize: {text}"];
  expect(await edgeT5(change, { env })).toMatchObject({ code: 0 });
  await first.stop();

  const second = await start(state, ["--demo", "--json"]);
  const told = JSON.parse(second.output.split("\n").find((line) => line.startsWith("{")) ?? "");
  expect(told).toMatchObject({ model: "default", state, demo: { tenant: "demo", key } });
  const tasks = await edgeT5(["task", "list", "demo", "--json"], { env: { ...env, EDGE_T5_URL: second.url } });
  const versions = (JSON.parse(tasks.stdout).data as { id: string; version: number }[]).map((t) => [t.id, t.version]);
  expect(Object.fromEntries(versions)).toEqual({
    "classify-package": 1,
    summarize: 2,
    "translate-de": 1,
    "translate-fr": 1,
  });
  const prices = await edgeT5(["price", "list", "--all", "--json"], { env: { ...env, EDGE_T5_URL: second.url } });
  expect(JSON.parse(prices.stdout).data).toHaveLength(1);
  const revoked = await edgeT5(["key", "revoke", "demo", key.slice(0, 14)], {
    env: { ...env, EDGE_T5_URL: second.url },
  });
  expect(revoked).toMatchObject({ code: 0 });
  await second.stop();

  const third = await start(state, ["--demo"]);
  const newKey = /export KEY=(et5_\S+)/.exec(third.output)?.[1] ?? "";
  expect(newKey).not.toBe(key);
  const status = (await fetch(`${third.url}/v1/models`, { headers: { authorization: `Bearer ${newKey}` } })).status;
  await third.stop();
  expect(status).toBe(200);
});

test("demo traffic: a mixed load of three tenants; the ledger and the invoices are what the answers say", {
  timeout: START_MS,
}, async () => {
  const kit = await start(join(dir, "traffic"), ["--demo"]);
  const env = { EDGE_T5_URL: kit.url, EDGE_T5_ADMIN_TOKEN: kit.adminToken };
  const text = await edgeT5(["demo", "traffic", "--requests", "150", "--days", "3"], { env });
  expect(text.code).toBe(0);
  expect(text.stdout).toMatch(/^DAY +SENT +ANSWERED/m);
  expect(text.stdout.match(/^Invoice of demo-[abc] for .* so far: \$0\.\d+$/gm)).toHaveLength(3);
  expect(text.stdout.match(/ {2}yes$/gm)).toHaveLength(3);
  const { code, stdout } = await edgeT5(["demo", "traffic", "--requests", "150", "--seed", "2", "--json"], { env });
  const { ok, outcomes, days, tenants } = JSON.parse(stdout);
  expect([code, ok, days.length]).toEqual([0, true, 7]);
  expect(days.reduce((sum: number, { sent }: { sent: number }) => sum + sent, 0)).toBe(150);
  const { answered, cut_off, refused, failed } = outcomes as Record<string, number>;
  expect({ failed, cut: cut_off! > 0, refused: refused! > 0 }).toEqual({ failed: 0, cut: true, refused: true });
  const events = (tenants as { events: number }[]).reduce((sum, each) => sum + each.events, 0);
  expect(events).toBe(answered! + cut_off!);
  // The same adapter again: it costs its day once.
  expect(tenants[2].invoice.adapters).toMatchObject([{ adapter: "house-style", days: 1, amount: "0.01" }]);
  // Its keys end with it.
  const keys = await edgeT5(["key", "list", "demo-a", "--json"], { env });
  const statuses = (JSON.parse(keys.stdout).data as { status: string }[]).map(({ status }) => status);
  expect(statuses).toEqual(["revoked", "revoked"]);
});

test("another model: its tasks are told, and how to add one", { timeout: 2 * START_MS }, async () => {
  const state = join(dir, "other");
  const folder = join(dir, "package");
  await cp(DEFAULT_PACKAGE, folder, { recursive: true });
  const manifest = join(folder, "manifest.json");
  await writeFile(manifest, JSON.stringify({ ...JSON.parse(await readFile(manifest, "utf8")), name: "mine" }));
  const first = await start(state, ["--demo", "--model", folder, "--readers", "documents"]);
  const key = /export KEY=(et5_\S+)/.exec(first.output)?.[1] ?? "";
  const [, adding = ""] = first.output.split(/^It has no tasks yet: .*Add one.*:$/m);
  const [lines = ""] = adding.split("Or try it in a browser:");
  const told = await paste(`export KEY=${key}\n${lines}`);
  expect(told).toMatch(/^digest of demo is at version 1; its fields: input\.$/m);
  expect(told).toContain('"task":"digest"');
  expect(told).toContain('"model":"mine"');
  await first.stop();
  const second = await start(state, ["--demo", "--model", folder]);
  expect(second.output).toMatch(/^Its tasks, of the tenant demo: digest\. Add one/m);
});
