/** Tenants, keys and tasks from the command line, against the running kit. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { COMMANDS, type CommandEntry, type CommandGroup } from "../../src/cli/commands.ts";
import { edgeT5 } from "../cli/process.ts";
import { Kit } from "./kit.ts";

const START_MS = 90_000;
const PROMPT = "translate English to German: The house is old.";

let dir: string;
let kit: Kit;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-control-"));
  kit = await Kit.start(join(dir, "state"));
}, START_MS);
afterAll(async () => {
  await kit?.stop();
  await rm(dir, { recursive: true, force: true });
});

const run = (...args: string[]) => edgeT5(args, { env: { EDGE_T5_URL: kit.url, EDGE_T5_ADMIN_TOKEN: kit.adminToken } });
async function json(...args: string[]): Promise<Record<string, never>> {
  const { code, stdout, stderr } = await run(...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

test("a tenant gets limits, a key and an answer; disabled, it gets none", async () => {
  const created = await run("tenant", "create", "acme", "--name", "Acme Inc.", "--hard-budget", "50");
  expect(created).toMatchObject({ code: 0, stderr: "" });
  expect(created.stdout).toMatch(/^TENANT +acme\nname +Acme Inc\.\n/);
  expect(created.stdout).toMatch(/budget, hard, \$ a month +50\n/);
  expect(await json("tenant", "update", "acme", "--models", "default", "--concurrency", "4")).toMatchObject({
    models: ["default"],
    limits: { concurrency: 4, soft_budget: null, hard_budget: "50" },
  });
  expect(await json("tenant", "update", "acme", "--models", "all", "--concurrency", "none")).toMatchObject({
    models: null,
    limits: { concurrency: null },
  });
  expect((await run("tenant", "list")).stdout).toMatch(/^acme +Acme Inc\. +all +no limit +– \/ 50 +enabled$/m);
  expect((await json("tenant", "list")).data).toMatchObject([{ id: "acme" }, { id: "tests" }]);

  const made = await run("key", "create", "acme", "--name", "site", "--requests-per-minute", "60");
  expect(made.stdout).toMatch(/^et5_[0-9A-Za-z]{10}_[0-9A-Za-z_-]{43}\n$/);
  expect(made.stderr).toMatch(/will not be shown again/);
  const apiKey = made.stdout.trim();
  const openai = new OpenAI({ baseURL: `${kit.url}/v1`, apiKey, maxRetries: 0 });
  const ask = async () => (await openai.completions.create({ model: "default", prompt: PROMPT })).choices[0]?.text;
  expect(await ask()).toBe("Das Haus ist alt.");
  expect((await run("tenant", "disable", "acme")).stdout).toMatch(/^state +disabled since /m);
  await expect(ask()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  await expect(ask()).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
  expect((await run("tenant", "enable", "acme")).stdout).toMatch(/^state +enabled$/m);
  expect(await ask()).toBe("Das Haus ist alt.");
});

test("what serves a task trains it: its template and labels, of the gateway", async () => {
  await json("tenant", "create", "trainers");
  const definition = ["--model", "default", "--template", "sentiment: {review}", "--labels", "good,bad"];
  await json("task", "put", "trainers", "reviews", ...definition, "--max-input-tokens", "30");
  const rows = Array.from({ length: 12 }, (_, i) =>
    JSON.stringify({ review: `it is ${i}`, label: i % 2 ? "good" : "bad" }),
  );
  await writeFile(join(dir, "reviews.jsonl"), rows.join("\n"));
  const [data, folder] = [join(dir, "reviews.jsonl"), join(dir, "run")];
  const fit = ["fit", data, "--task", "trainers/reviews", "--lora", "--steps", "1", "--run", folder];
  expect(await run(...fit)).toMatchObject({ code: 0 });
  const { data: settings } = JSON.parse(await readFile(join(folder, "run.json"), "utf8"));
  expect(settings).toMatchObject({
    maxInputTokens: 30,
    tasks: [{ template: "sentiment: {review}", labels: ["good", "bad"] }],
  });
  const other = await run("fit", data, "--task", "trainers/nothing", "--run", join(dir, "other"));
  expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/^E_INPUT: The gateway answers 404/m) });
});

test("a key is listed without its secret, rotated and revoked", async () => {
  await json("tenant", "create", "keys");
  const { key, ...shown } = await json("key", "create", "keys", "--scopes", "tasks:run,usage:read", "--expires", "90d");
  expect(shown).toMatchObject({ scopes: ["tasks:run", "usage:read"], status: "active" });
  const days = (Date.parse(shown.expires_at!) - Date.now()) / 86_400_000;
  expect(days).toBeGreaterThan(89.9);
  expect(days).toBeLessThanOrEqual(90);
  const rotated = await run("key", "rotate", "keys", shown.id!, "--overlap-seconds", "3600");
  expect(rotated.stderr).toContain(`${shown.id} works until `);
  const status = async (apiKey: string) =>
    (await fetch(`${kit.url}/v1/models`, { headers: { authorization: `Bearer ${apiKey}` } })).status;
  expect([await status(key!), await status(rotated.stdout.trim())]).toEqual([200, 200]);
  expect((await run("key", "revoke", "keys", shown.id!)).stdout).toContain(`${shown.id} (key) is revoked`);
  expect([await status(key!), await status(rotated.stdout.trim())]).toEqual([401, 200]);
  const listed = await run("key", "list", "keys");
  expect(listed.stdout).toMatch(new RegExp(`^${shown.id} +key +revoked +tasks:run usage:read +no limit`, "m"));
  expect(listed.stdout).toMatch(new RegExp(`active .*${shown.id}$`, "m"));
  expect(listed.stdout).not.toContain(String(key).slice(15));
});

test("a task is defined by options or a file, shown as the file takes it, and deleted", async () => {
  await json("tenant", "create", "tasks");
  const options = ["--model", "default", "--template", "classify: {input}", "--labels", "bug, praise"];
  const put = await run("task", "put", "tasks", "triage", ...options, "--generation", '{"num_beams":2}');
  expect(put).toMatchObject({ stdout: "triage of tasks is at version 1; its fields: input.\n", code: 0, stderr: "" });
  const shown = await run("task", "show", "tasks", "triage");
  expect(JSON.parse(shown.stdout)).toMatchObject({ labels: ["bug", "praise"], generation: { num_beams: 2 } });

  const file = join(dir, "triage.json");
  await writeFile(file, shown.stdout);
  expect(await json("task", "put", "tasks", "triage", "--file", file)).toMatchObject({ version: 1 });
  const changed = await json(
    "task",
    "put",
    "tasks",
    "triage",
    "--file",
    file,
    "--cache-seconds",
    "60",
    "--if-match",
    "1",
  );
  expect(changed).toMatchObject({ version: 2, definition: { cache: { policy: "answers", ttl_seconds: 60 } } });
  expect(await json("task", "show", "tasks", "triage", "--version", "1")).toMatchObject({ version: 1 });
  expect((await run("task", "list", "tasks")).stdout).toMatch(/^triage +2 +default +2 labels +classify: \{input\}$/m);

  const late = await run("task", "put", "tasks", "triage", "--file", file, "--if-match", "1");
  expect(late).toMatchObject({ code: 1, stderr: expect.stringMatching(/^E_INPUT: .*412.*version_mismatch/) });
  expect((await run("task", "delete", "tasks", "triage")).stdout).toContain("triage of tasks is deleted (version 3)");
  expect((await run("task", "list", "tasks")).stdout).toMatch(/^tasks has no tasks/);
});

describe("what cannot be done is said in words", () => {
  test.each([
    [["tenant", "show", "nobody"], /^E_INPUT: .*404.*There is no tenant "nobody".*tenant_not_found/],
    [["tenant", "create", "No Slug"], /^E_INPUT: .*400.*id: 2 to 39 of a-z/],
    [["tenant", "update", "acme"], /^E_USAGE: Nothing to change/],
    [["tenant", "create", "x", "--concurrency", "few"], /^E_USAGE: --concurrency is "few"/],
    [["key", "create", "nobody"], /tenant_not_found/],
    [["key", "create", "acme", "--expires", "soon"], /^E_USAGE: --expires is "soon"/],
    [["task", "put", "tests", "t", "--model", "none", "--template", "{x}"], /There is no model "none"/],
    [["task", "put", "tests", "t", "--generation", "beams"], /^E_USAGE: --generation is no JSON object/],
    [["task", "put", "tests", "t", "--file", "/nowhere.json"], /^E_IO: ENOENT/],
    [["tenant", "list", "--url", "http://127.0.0.1:1"], /^E_IO: http:\/\/127.0.0.1:1 cannot be reached/],
    [["tenant", "list", "--admin-token", "wrong"], /^E_INPUT: .*401.*invalid_admin_token/],
    [["tenant", "creat", "x"], /^E_USAGE: Unknown command creat. Did you mean create\?/],
    [["key"], /^E_USAGE: No command given. See edge-t5 key --help/],
  ])("%j", async (args, message) => {
    expect(await run(...args)).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(message) });
  });
});

test.each(["tenant", "key", "task"])("edge-t5 %s --help lists its commands, each one's its examples", async (name) => {
  const { commands } = COMMANDS[name] as CommandGroup;
  const overview = await run(name, "--help");
  expect(overview.code).toBe(0);
  for (const [command, entry] of Object.entries(commands)) {
    expect(overview.stdout).toContain(`  ${command}`);
    expect(overview.stdout).toContain(entry.summary);
    const help = await run(name, command, "--help");
    expect(help.stdout).toContain(`edge-t5 ${name} ${command}`);
    expect(help.stdout).toContain("--json");
    for (const example of (entry as CommandEntry).examples) expect(help.stdout).toContain(`  ${example}`);
  }
});

test("edge-t5 start says how to get a key", () => {
  expect(kit.output).toMatch(/^ {2}npx edge-t5 tenant create acme\n {2}KEY=\$\(npx edge-t5 key create acme\)$/m);
  expect(kit.output).toContain(`export EDGE_T5_URL=${kit.url.replace("127.0.0.1", "localhost")}`);
  expect(kit.output).not.toContain(kit.adminToken);
});
