/** `edge-t5 key create|list|rotate|revoke` */
import { type ArgsDef, defineCommand } from "citty";
import { SCOPES } from "../tenancy/caller.ts";
import { timeOf, wholeNumber } from "./arguments.ts";
import { controlPlane, controlPlaneOptions, listAll } from "./control-plane.ts";
import { given, keyLimitOptions, keyLimitsOf, listOf } from "./limit-options.ts";
import { formatTable, printJson } from "./output.ts";

interface Key {
  id: string;
  name: string;
  scopes: string[];
  allowed_origins: string[];
  limits: { requests_per_minute: number | null; tokens_per_minute: number | null };
  status: string;
  created_at: string;
  expires_at: string | null;
  replaces: string | null;
}

type NewKey = Key & { key: string };

const tenant = { type: "positional", required: true, description: "The tenant's id" } as const;
const key = { type: "positional", required: true, description: "The key's visible part: et5_0123456789" } as const;
const common = {
  ...controlPlaneOptions,
  json: { type: "boolean", description: "Print one JSON object instead of text" },
} as const satisfies ArgsDef;

export const create = defineCommand({
  meta: { name: "create", description: "Make an API key: it is printed once, alone on stdout" },
  args: {
    tenant,
    name: { type: "string", default: "key", description: "What the key is for" },
    scopes: { type: "string", valueHint: "a,b", description: `Of ${SCOPES.join(", ")}; default: tasks:run` },
    origins: { type: "string", valueHint: "a,b", description: "Origins of pages that may read answers; * for any" },
    expires: { type: "string", valueHint: "when", description: "A day (2027-01-31), or so many from now (90d)" },
    ...keyLimitOptions,
    ...common,
  },
  async run({ args }) {
    const { request } = await controlPlane(args);
    const body = {
      name: args.name,
      ...given({
        scopes: listOf("--scopes", args.scopes),
        allowed_origins: listOf("--origins", args.origins),
        expires_at: args.expires === undefined ? undefined : expiryOf(args.expires),
        limits: keyLimitsOf(args),
      }),
    };
    const made = (await request("POST", pathOf(args.tenant), body)) as NewKey;
    if (args.json) return printJson(made);
    console.error(`The key of ${args.tenant} for ${made.scopes.join(", ")}. It will not be shown again: keep it now.`);
    console.log(made.key);
  },
});

export const list = defineCommand({
  meta: { name: "list", description: "List a tenant's keys by their visible parts" },
  args: { tenant, ...common },
  async run({ args }) {
    const data = await listAll<Key>(await controlPlane(args), pathOf(args.tenant));
    if (args.json) return printJson({ data });
    if (data.length === 0)
      return console.log(`${args.tenant} has no keys. Make one: edge-t5 key create ${args.tenant}.`);
    console.log(
      formatTable(
        ["KEY", "NAME", "STATE", "SCOPES", "REQUESTS/MIN", "TOKENS/MIN", "EXPIRES", "REPLACES"],
        data.map(({ id, name, status, scopes, limits, expires_at, replaces }) => [
          id,
          name,
          status,
          scopes.join(" "),
          limits.requests_per_minute ?? "no limit",
          limits.tokens_per_minute ?? "no limit",
          expires_at ?? "never",
          replaces ?? "",
        ]),
      ),
    );
  },
});

export const rotate = defineCommand({
  meta: { name: "rotate", description: "Make a key in a key's place; both work for a while" },
  args: {
    tenant,
    key,
    "overlap-seconds": {
      type: "string",
      valueHint: "n",
      description: "How long the old key works on; default: a day, at most a week",
    },
    ...common,
  },
  async run({ args }) {
    const { request } = await controlPlane(args);
    const overlap = args["overlap-seconds"];
    const body =
      overlap === undefined ? {} : { overlap_seconds: wholeNumber("--overlap-seconds", overlap, 0, 604_800) };
    const path = `${pathOf(args.tenant)}/${encodeURIComponent(args.key)}/rotate`;
    const made = (await request("POST", path, body)) as NewKey & { replaced: Key };
    if (args.json) return printJson(made);
    console.error(
      `${made.replaced.id} works until ${made.replaced.expires_at}. The new key will not be shown again: keep it now.`,
    );
    console.log(made.key);
  },
});

export const revoke = defineCommand({
  meta: { name: "revoke", description: "Refuse a key, within half a minute" },
  args: { tenant, key, ...common },
  async run({ args }) {
    const { request } = await controlPlane(args);
    const revoked = (await request("DELETE", `${pathOf(args.tenant)}/${encodeURIComponent(args.key)}`)) as Key;
    if (args.json) return printJson(revoked);
    console.log(`${revoked.id} (${revoked.name}) is revoked: all of the gateway refuses it within half a minute.`);
  },
});

function pathOf(tenant: string): string {
  return `/admin/tenants/${encodeURIComponent(tenant)}/keys`;
}

/** @throws EdgeT5Error `E_USAGE` */
function expiryOf(when: string): string {
  const days = /^(\d{1,5})d$/.exec(when)?.[1];
  if (days === undefined) return timeOf("--expires", when, "a day (2027-01-31), or days (90d)");
  return new Date(Date.now() + Number(days) * 86_400_000).toISOString();
}
