/** `edge-t5 deploy`: the real wrangler against a double of Cloudflare's API; a running kit stands for the gateway. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { readLocalSecrets } from "../../src/local/secrets.ts";
import { edgeT5 } from "../cli/process.ts";
import { CloudflareDouble } from "./cloudflare-double.ts";
import { Kit } from "./kit.ts";

const START_MS = 90_000;
const DEPLOY_MS = 240_000;

let dir: string;
let kit: Kit;
let adminToken: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-deploy-"));
  kit = await Kit.start(join(dir, "state"));
  adminToken = (await readLocalSecrets(join(dir, "state")))?.ADMIN_TOKEN ?? "";
}, START_MS);

afterAll(async () => {
  await kit?.stop();
  await rm(dir, { recursive: true, force: true });
});

interface Report {
  name: string;
  url: string;
  steps: { what: string; outcome: string; detail?: string }[];
  model: { name: string; version: string };
  admin_token?: string;
  metrics_token?: string;
  origin: string | null;
  cost: { usd_a_month: number; prices: string; assumptions: string[] };
}

async function startDouble(): Promise<CloudflareDouble> {
  const cloudflare = await CloudflareDouble.start();
  onTestFinished(() => cloudflare.stop());
  return cloudflare;
}

test("makes what is missing, deploys in order, pushes; called again after a failure it goes on, and then changes nothing", {
  timeout: DEPLOY_MS,
}, async () => {
  const cloudflare = await startDouble();
  const out = join(dir, "out");
  const kept = async () =>
    JSON.parse(await readFile(join(out, "deployment.json"), "utf8")) as {
      url?: string;
      origin?: string;
      secrets: { ADMIN_TOKEN: string; KEY_SECRET?: string; ORIGIN_SECRET: string; METRICS_TOKEN: string };
    };
  const run = (...more: string[]) =>
    edgeT5(
      ["deploy", "--name", "shop-t5", "--readers", "documents", "--out", out, "--url", kit.url, "--json", ...more],
      {
        env: { ...cloudflare.env, EDGE_T5_ADMIN_TOKEN: adminToken, ORIGIN_SECRET: "" },
      },
    );
  cloudflare.failNext = /^PUT .*shop-t5-decoder$/;
  const failed = await run();
  expect(failed.code).toBe(1);
  expect(failed.stderr).toMatch(/^\{"error":\{"code":"E_IO".*shop-t5-decoder.*The double was told to fail here/);
  const { KEY_SECRET: keySecret, ORIGIN_SECRET: originSecret, METRICS_TOKEN: metricsToken } = (await kept()).secrets;
  expect(metricsToken).toMatch(/^[\w-]{43}$/);

  const resumed = await run();
  expect(resumed).toMatchObject({ code: 0, stderr: "" });
  const report = JSON.parse(resumed.stdout) as Report;
  expect(report.steps.map(({ what, outcome }) => [what, outcome])).toEqual([
    ["R2 bucket shop-t5", "there"],
    ["D1 database shop-t5", "there"],
    ["queue shop-t5-usage-dead", "there"],
    ["queue shop-t5-usage", "there"],
    ["queue shop-t5-jobs-dead", "there"],
    ["queue shop-t5-jobs", "there"],
    ["D1 migrations", "unchanged"],
    ["Worker shop-t5-encoder", "unchanged"],
    ["Worker shop-t5-decoder", "made"],
    ["Worker shop-t5-reader", "made"],
    ["Worker shop-t5", "made"],
    [`${kit.url}/healthz`, "there"],
    [`model default@${report.model.version}`, "unchanged"],
  ]);
  // Given, so not told.
  expect(report.admin_token).toBeUndefined();
  expect(report.cost.usd_a_month).toBeGreaterThanOrEqual(5);
  const { secrets } = cloudflare.workers.get("shop-t5") ?? {};
  expect([...(secrets ?? [])].sort()).toEqual([
    ["ADMIN_TOKEN", adminToken],
    ["KEY_SECRET", keySecret],
    ["METRICS_TOKEN", metricsToken],
    ["ORIGIN_SECRET", originSecret],
  ]);
  expect([report.metrics_token, report.origin]).toEqual([metricsToken, null]);
  // What origins are started with stays known here.
  expect(await kept()).toEqual({
    url: "https://shop-t5.double.workers.dev",
    secrets: { ADMIN_TOKEN: adminToken, ORIGIN_SECRET: originSecret, METRICS_TOKEN: metricsToken },
  });
  const files = (await readdir(fileURLToPath(new URL("../../functions/gateway/migrations", import.meta.url)))).sort();
  expect(cloudflare.databases.get("shop-t5")?.migrations).toEqual(files);
  for (const queue of ["usage", "usage-dead", "jobs", "jobs-dead"].map((name) => `shop-t5-${name}`)) {
    expect(cloudflare.queues.get(queue)?.consumers).toMatchObject([{ script_name: "shop-t5" }]);
  }
  expect(cloudflare.changes.filter((change) => change.startsWith("PUT"))).toEqual(
    ["encoder", "decoder", "reader"]
      .map((worker) => `PUT /workers/scripts/shop-t5-${worker}`)
      .concat("PUT /workers/scripts/shop-t5", "PUT /workers/scripts/shop-t5/schedules"),
  );
  expect(cloudflare.unknown).toEqual([]);

  const before = cloudflare.changes.length;
  const again = JSON.parse((await run()).stdout) as Report;
  expect(cloudflare.changes.slice(before)).toEqual([]);
  expect(new Set(again.steps.map(({ outcome }) => outcome))).toEqual(new Set(["there", "unchanged"]));
  expect(again.metrics_token).toBeUndefined();
});

test("--origin says where the origin is, and gives the gateway the secret that it has; both stay", {
  timeout: DEPLOY_MS,
}, async () => {
  const cloudflare = await startDouble();
  const out = join(dir, "with-origin");
  const gateway = () => cloudflare.workers.get("edge-t5");
  const originUrl = () => gateway()?.bindings.find(({ name }) => name === "ORIGIN_URL")?.text;
  const run = async (secret: string, ...more: string[]) => {
    const args = ["deploy", "--out", out, "--one-worker", "--readers", "none", "--url", kit.url, "--json", ...more];
    const env = { ...cloudflare.env, EDGE_T5_ADMIN_TOKEN: adminToken, ORIGIN_SECRET: secret };
    const { code, stdout, stderr } = await edgeT5(args, { env });
    expect([code, stderr]).toEqual([0, ""]);
    return JSON.parse(stdout) as Report;
  };
  expect((await run("", "--origin", "https://origin.example.org/")).origin).toBe("https://origin.example.org");
  expect(originUrl()).toBe("https://origin.example.org");
  const made = gateway()?.secrets.get("ORIGIN_SECRET") ?? "";
  expect(made).toMatch(/^[\w-]{43}$/);
  // The origin's own, which runs with it already; and a run that says nothing leaves everything as it is.
  await run("of the origin");
  expect([gateway()?.secrets.get("ORIGIN_SECRET"), originUrl()]).toEqual([
    "of the origin",
    "https://origin.example.org",
  ]);
  const before = cloudflare.changes.length;
  await run("");
  expect(cloudflare.changes.slice(before)).toEqual([]);
  const plan = await edgeT5(["deploy", "--dry-run", "--out", out], { env: cloudflare.env });
  expect(plan.stdout).toMatch(/secrets ADMIN_TOKEN, KEY_SECRET, ORIGIN_SECRET, METRICS_TOKEN are made where they are/);
  expect(plan.stdout).toContain("ORIGIN_URL is https://origin.example.org");
  await run("", "--origin", "none");
  expect(originUrl()).toBeUndefined();
});

test("secrets are made where none were given, kept at once, and are the same after a failure", {
  timeout: DEPLOY_MS,
}, async () => {
  const cloudflare = await startDouble();
  const out = join(dir, "made");
  const run = (...args: string[]) =>
    edgeT5(["deploy", "--out", out, "--one-worker", "--readers", "none", ...args], {
      env: { ...cloudflare.env, EDGE_T5_ADMIN_TOKEN: "" },
    });
  // The kit that stands for the gateway has another token: the push is refused, all before it is done.
  const first = await run("--url", kit.url);
  expect(first).toMatchObject({ code: 1, stderr: expect.stringContaining("invalid_admin_token") });
  const token = cloudflare.workers.get("edge-t5")?.secrets.get("ADMIN_TOKEN") ?? "";
  expect(token).toMatch(/^[\w-]{43}$/);
  expect(first.stdout).toContain(token);
  const second = await run("--url", kit.url);
  expect(second.stdout).not.toContain(token);
  expect(cloudflare.workers.get("edge-t5")?.secrets.get("ADMIN_TOKEN")).toBe(token);
  expect([...cloudflare.workers.keys()]).toEqual(["edge-t5-model", "edge-t5"]);
  // Elsewhere nobody knows the token, and nothing is changed without it.
  const before = cloudflare.changes.length;
  await rm(out, { recursive: true });
  const elsewhere = await run("--url", kit.url);
  expect(elsewhere.stderr).toMatch(/^E_USAGE: The gateway edge-t5 has an admin token that is not known here/);
  expect(cloudflare.changes.length).toBe(before);
});

test("--dry-run plans without asking anybody; without a login nothing is done", { timeout: START_MS }, async () => {
  const cloudflare = await startDouble();
  const env = { ...cloudflare.env };
  const plan = await edgeT5(["deploy", "--dry-run", "--json", "--requests", "20e6", "--cpu-ms", "50"], { env });
  const { steps, cost } = JSON.parse(plan.stdout) as Report;
  expect(steps.map(({ what }) => what)).toEqual([
    "R2 bucket edge-t5",
    "D1 database edge-t5",
    "queue edge-t5-usage-dead",
    "queue edge-t5-usage",
    "queue edge-t5-jobs-dead",
    "queue edge-t5-jobs",
    "D1 migrations",
    "Worker edge-t5-encoder",
    "Worker edge-t5-decoder",
    "Worker edge-t5-ocr",
    "Worker edge-t5-reader",
    "Worker edge-t5",
    "/healthz",
    "model default",
  ]);
  // 5 of the plan; (20 - 10) × 0.30 of requests; (20 × 50 - 30) × 0.02 of CPU; (60 - 1) × 0.40 of queues;
  // (80 - 50) × 1.00 of rows written; (8 - 5) × 0.75 of ledger; (40 - 1) × 0.15 of objects.
  expect(cost.usd_a_month).toBeCloseTo(5 + 3 + 19.4 + 23.6 + 30 + 2.25 + 5.85, 2);
  expect(cost.assumptions.join()).toContain("50 ms of CPU a request, as given");
  const text = await edgeT5(["deploy", "--dry-run", "--one-worker"], { env });
  expect(text.stdout).toMatch(/Worker edge-t5-model +encoder and decoder/);
  expect(text.stdout).toMatch(/About \$5\.\d\d a month/);
  expect(cloudflare.requests).toBe(0);

  const home = { HOME: dir, XDG_CONFIG_HOME: dir, CLOUDFLARE_API_TOKEN: "" };
  const nobody = await edgeT5(["deploy"], { env: { ...env, ...home } });
  expect(nobody).toMatchObject({ code: 1, stderr: expect.stringMatching(/^E_USAGE: wrangler is not logged in/) });
  const stranger = await edgeT5(["deploy"], { env: { ...env, CLOUDFLARE_API_TOKEN: "another" } });
  expect(stranger.stderr).toMatch(/^E_USAGE: wrangler is not logged in.*Authentication error/);
  const nowhere = await edgeT5(["deploy", "--origin", "origin:8788", "--dry-run"], { env });
  expect(nowhere.stderr).toMatch(/^E_USAGE: --origin is "origin:8788"/);
  const wrong = await edgeT5(["deploy", "--name", "Bad Name"], { env });
  expect(wrong.stderr).toMatch(/^E_USAGE: --name is "Bad Name"/);
});
