/** `edge-t5 tenant create|list|show|update|disable|enable` */
import { type ArgsDef, defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { type ControlPlaneArgs, controlPlane, controlPlaneOptions, listAll } from "./control-plane.ts";
import { given, type KeyLimitArgs, keyLimitOptions, keyLimitsOf, limitOf, listOf } from "./limit-options.ts";
import { formatTable, printJson } from "./output.ts";

interface Tenant {
  id: string;
  name: string;
  models: string[] | null;
  limits: { concurrency: number | null; soft_budget: string | null; hard_budget: string | null };
  key_limits: { requests_per_minute: number | null; tokens_per_minute: number | null };
  quotas: { jobs_running: number | null; jobs_waiting: number | null; file_bytes: number | null };
  created_at: string;
  disabled_at: string | null;
}

const id = { type: "positional", required: true, description: "The tenant's id: a-z, 0-9 and -" } as const;
const common = {
  ...controlPlaneOptions,
  json: { type: "boolean", description: "Print one JSON object instead of text" },
} as const satisfies ArgsDef;

const settings = {
  name: { type: "string", description: "As people read it; default: the id" },
  models: { type: "string", valueHint: "a,b", description: "Models that the tenant may use, or all" },
  concurrency: { type: "string", valueHint: "n", description: "Most requests at once, or none for no limit" },
  "soft-budget": { type: "string", valueHint: "dollars", description: "Of a month: past it answers say so; or none" },
  "hard-budget": {
    type: "string",
    valueHint: "dollars",
    description: "Of a month: past it requests are refused; or none",
  },
  ...keyLimitOptions,
  "jobs-running": { type: "string", valueHint: "n", description: "Most jobs at once; none: the deployment's" },
  "jobs-waiting": { type: "string", valueHint: "n", description: "Most jobs that wait; none: the deployment's" },
  "file-bytes": { type: "string", valueHint: "n", description: "Bytes of all files; none: the deployment's" },
} as const satisfies ArgsDef;

interface SettingsArgs extends KeyLimitArgs {
  name?: string | undefined;
  models?: string | undefined;
  concurrency?: string | undefined;
  "soft-budget"?: string | undefined;
  "hard-budget"?: string | undefined;
  "jobs-running"?: string | undefined;
  "jobs-waiting"?: string | undefined;
  "file-bytes"?: string | undefined;
}

export const create = defineCommand({
  meta: { name: "create", description: "Make a tenant" },
  args: { id, ...settings, ...common },
  async run({ args }) {
    const { request } = await controlPlane(args);
    const body = { id: args.id, name: args.id, ...settingsOf(args) };
    print((await request("POST", "/admin/tenants", body)) as Tenant, args.json);
    if (!args.json) console.log(`\nMake a key for it: edge-t5 key create ${args.id}`);
  },
});

export const list = defineCommand({
  meta: { name: "list", description: "List the tenants" },
  args: common,
  async run({ args }) {
    const data = await listAll<Tenant>(await controlPlane(args), "/admin/tenants");
    if (args.json) return printJson({ data });
    if (data.length === 0) return console.log("There are no tenants. Make one: edge-t5 tenant create ID.");
    const header = ["TENANT", "NAME", "MODELS", "AT ONCE", "BUDGET, $ A MONTH", "STATE"];
    console.log(
      formatTable(
        header,
        data.map(({ id, name, models, limits, disabled_at }) => [
          id,
          name,
          modelsText(models),
          limitText(limits.concurrency),
          budgetText(limits),
          disabled_at ? "disabled" : "enabled",
        ]),
      ),
    );
  },
});

export const show = defineCommand({
  meta: { name: "show", description: "Show a tenant's limits" },
  args: { id, ...common },
  async run({ args }) {
    const { request } = await controlPlane(args);
    print((await request("GET", pathOf(args.id))) as Tenant, args.json);
  },
});

export const update = defineCommand({
  meta: { name: "update", description: "Change a tenant; what is not named stays" },
  args: { id, ...settings, ...common },
  async run({ args }) {
    const change = settingsOf(args);
    if (!change) throw new EdgeT5Error("E_USAGE", "Nothing to change is named. See edge-t5 tenant update --help.");
    await patch(args, change);
  },
});

export const disable = defineCommand({
  meta: { name: "disable", description: "Refuse all of a tenant's keys, within half a minute" },
  args: { id, ...common },
  run: ({ args }) => patch(args, { disabled: true }),
});

export const enable = defineCommand({
  meta: { name: "enable", description: "Take a disabled tenant's keys again" },
  args: { id, ...common },
  run: ({ args }) => patch(args, { disabled: false }),
});

async function patch(
  args: ControlPlaneArgs & { id: string; json?: boolean | undefined },
  change: object,
): Promise<void> {
  const { request } = await controlPlane(args);
  print((await request("PATCH", pathOf(args.id), change)) as Tenant, args.json);
}

function pathOf(tenant: string): string {
  return `/admin/tenants/${encodeURIComponent(tenant)}`;
}

function settingsOf(args: SettingsArgs) {
  const budget = (value: string | undefined) => (value === "none" ? null : value);
  return given({
    name: args.name,
    models: args.models === "all" ? null : listOf("--models", args.models),
    limits: given({
      concurrency: limitOf("--concurrency", args.concurrency),
      soft_budget: budget(args["soft-budget"]),
      hard_budget: budget(args["hard-budget"]),
    }),
    key_limits: keyLimitsOf(args),
    quotas: given({
      jobs_running: limitOf("--jobs-running", args["jobs-running"]),
      jobs_waiting: limitOf("--jobs-waiting", args["jobs-waiting"]),
      file_bytes: limitOf("--file-bytes", args["file-bytes"]),
    }),
  });
}

function print(tenant: Tenant, json: boolean | undefined): void {
  console.log(json ? JSON.stringify(tenant) : tenantTable(tenant));
}

function tenantTable(tenant: Tenant): string {
  const { limits, key_limits, quotas } = tenant;
  return formatTable(
    ["TENANT", tenant.id],
    [
      ["name", tenant.name],
      ["state", tenant.disabled_at ? `disabled since ${tenant.disabled_at}` : "enabled"],
      ["models", modelsText(tenant.models)],
      ["requests at once", limitText(limits.concurrency)],
      ["budget, soft, $ a month", limitText(limits.soft_budget)],
      ["budget, hard, $ a month", limitText(limits.hard_budget)],
      ["requests a minute of a new key", limitText(key_limits.requests_per_minute)],
      ["tokens a minute of a new key", limitText(key_limits.tokens_per_minute)],
      ["jobs at once", quotaText(quotas.jobs_running)],
      ["jobs that wait", quotaText(quotas.jobs_waiting)],
      ["bytes of files", quotaText(quotas.file_bytes)],
      ["created", tenant.created_at],
    ],
  );
}

function modelsText(models: readonly string[] | null): string {
  return models === null ? "all" : models.join(", ") || "none";
}

function limitText(limit: number | string | null): string {
  return limit === null ? "no limit" : String(limit);
}

function quotaText(quota: number | null): string {
  return quota === null ? "the deployment's" : String(quota);
}

function budgetText({ soft_budget, hard_budget }: Tenant["limits"]): string {
  return soft_budget === null && hard_budget === null
    ? "no limit"
    : [soft_budget ?? "–", hard_budget ?? "–"].join(" / ");
}
