/** `edge-t5 usage [invoice|events]` */
import { type ArgsDef, defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { controlPlane, controlPlaneOptions, gatewayOf, listAll, refusal, unreachable } from "./control-plane.ts";
import { given } from "./limit-options.ts";
import { formatCount, formatTable, printJson } from "./output.ts";

interface UsageRow {
  day?: string;
  key?: string;
  task?: string | null;
  model?: string;
  requests: number;
  input_tokens: number;
  output_tokens: number;
  training_tokens: number;
  amount: string;
}

interface Price {
  id: string;
  valid_from: string;
  input_per_1k: string;
  output_per_1k: string;
  training_per_1k: string;
  per_request: string;
  adapter_day: string;
}

export interface Invoice {
  tenant: string;
  month: string;
  status: "open" | "closed";
  usage: {
    task: string | null;
    model: string;
    requests: number;
    input_tokens: number;
    output_tokens: number;
    training_tokens: number;
    price: Price | null;
    amount: string;
  }[];
  adapters: { adapter: string; model: string; days: number; price: Price | null; amount: string }[];
  total: string;
}

const GROUPS = ["day", "key", "task", "model"] as const;

const args = {
  what: {
    type: "positional",
    required: false,
    description: "invoice: a month's bill; events: the ledger itself; nothing: sums",
  },
  tenant: { type: "string", description: "Whose; sums without it are of every tenant" },
  by: { type: "string", valueHint: "a,b", description: `What sums are by: ${GROUPS.join(", ")}; default day` },
  from: { type: "string", valueHint: "day", description: "First day, UTC; default: the month's first" },
  to: { type: "string", valueHint: "day", description: "Last day; default: today" },
  month: { type: "string", valueHint: "month", description: "invoice: 2026-11; default: this month so far" },
  ...controlPlaneOptions,
  json: { type: "boolean", description: "Print one JSON object instead of text" },
  csv: { type: "boolean", description: "Print CSV, of one tenant" },
} as const satisfies ArgsDef;

export default defineCommand({
  meta: { name: "usage", description: "Show what tenants used, and their invoices" },
  args,
  async run({ args: given }) {
    const { what = "sums", tenant, month, json, csv } = given;
    if (json && csv) throw new EdgeT5Error("E_USAGE", "--json and --csv exclude each other. Drop one.");
    if (what !== "sums" && what !== "invoice" && what !== "events") {
      throw new EdgeT5Error("E_USAGE", `${JSON.stringify(what)} is not known here. It can be invoice or events.`);
    }
    if (tenant === undefined && (what !== "sums" || csv)) throw new EdgeT5Error("E_USAGE", "--tenant is missing.");
    if (what === "invoice") {
      if (given.from ?? given.to ?? given.by) {
        throw new EdgeT5Error(
          "E_USAGE",
          "An invoice is of a whole month. Use --month instead of --from, --to and --by.",
        );
      }
      const path = `${pathOf(tenant ?? "")}/invoices/${month ?? new Date().toISOString().slice(0, 7)}`;
      if (csv) return printCsv(given, path);
      const invoice = (await (await controlPlane(given)).request("GET", path)) as Invoice;
      return json ? printJson(invoice) : printInvoice(invoice);
    }
    if (month !== undefined) throw new EdgeT5Error("E_USAGE", "--month belongs to usage invoice. Use --from and --to.");
    if (what === "events") return showEvents(given);
    return showSums(given);
  },
});

interface Args {
  tenant?: string | undefined;
  by?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
  json?: boolean | undefined;
  csv?: boolean | undefined;
  url?: string | undefined;
  "admin-token"?: string | undefined;
}

async function showSums(options: Args): Promise<void> {
  const by = (options.by ?? "day").split(",");
  const query = { group_by: by.join(","), ...given({ from: options.from, to: options.to }) };
  if (options.csv) return printCsv(options, `${pathOf(options.tenant ?? "")}/usage`, query);
  const gateway = await controlPlane(options);
  const tenants =
    options.tenant === undefined
      ? (await listAll<{ id: string }>(gateway, "/admin/tenants")).map(({ id }) => id)
      : [options.tenant];
  const data: (UsageRow & { tenant: string })[] = [];
  for (const tenant of tenants) {
    for await (const row of pages<UsageRow>(gateway.request, `${pathOf(tenant)}/usage`, query)) {
      data.push({ tenant, ...row });
    }
  }
  if (options.json) return printJson({ data });
  if (data.length === 0) return console.log("Nothing was used.");
  const groups = ["tenant" as const, ...GROUPS.filter((name) => by.includes(name))];
  console.log(
    formatTable(
      [
        ...groups.map((name) => name.toUpperCase()),
        "REQUESTS",
        "INPUT TOKENS",
        "OUTPUT TOKENS",
        "TRAINING TOKENS",
        "$",
      ],
      data.map((row) => [
        ...groups.map((name) => row[name] ?? "–"),
        row.requests,
        row.input_tokens,
        row.output_tokens,
        row.training_tokens,
        row.amount,
      ]),
    ),
  );
}

async function showEvents(options: Args): Promise<void> {
  const path = `${pathOf(options.tenant ?? "")}/usage/events`;
  const query = given({ from: options.from, to: options.to }) ?? {};
  if (options.by !== undefined) throw new EdgeT5Error("E_USAGE", "--by is for sums. Drop it.");
  if (!options.json) return printCsv(options, path, query);
  const data: object[] = [];
  for await (const event of pages<object>((await controlPlane(options)).request, path, query)) data.push(event);
  printJson({ data });
}

export function printInvoice({ tenant, month, status, usage, adapters, total }: Invoice): void {
  console.log(`Invoice of ${tenant} for ${month}${status === "open" ? " so far" : ""}: $${total}`);
  if (usage.length > 0) {
    const header = ["TASK", "MODEL", "REQUESTS", "INPUT TOKENS", "OUTPUT TOKENS", "TRAINING TOKENS", "PRICE", "$"];
    const rows = usage.map((line) => [
      line.task ?? "–",
      line.model,
      line.requests,
      line.input_tokens,
      line.output_tokens,
      line.training_tokens,
      priceText(line.price),
      line.amount,
    ]);
    console.log(`\n${formatTable(header, rows)}`);
  }
  if (adapters.length > 0) {
    const rows = adapters.map((line) => [
      line.adapter,
      line.model,
      formatCount(line.days),
      line.price ? `$${line.price.adapter_day} a day` : "none",
      line.amount,
    ]);
    console.log(`\n${formatTable(["ADAPTER", "MODEL", "DAYS", "PRICE", "$"], rows)}`);
  }
}

function priceText(price: Price | null): string {
  if (!price) return "none";
  const perThousand = `$${price.input_per_1k} / $${price.output_per_1k} / $${price.training_per_1k}`;
  return `${price.id}: ${perThousand} per 1k, $${price.per_request} a request`;
}

/** Every row of a list with cursors. */
export async function* pages<Row>(
  request: (method: string, path: string) => Promise<unknown>,
  path: string,
  query: Record<string, unknown>,
): AsyncGenerator<Row> {
  let next: string | null = null;
  do {
    const asked = next === null ? { ...query, limit: "1000" } : { cursor: next, limit: "1000" };
    const page = (await request("GET", `${path}?${new URLSearchParams(asked)}`)) as {
      data: Row[];
      next_cursor: string | null;
    };
    yield* page.data;
    next = page.next_cursor;
  } while (next !== null);
}

/** Streams the gateway's CSV to stdout. */
async function printCsv(options: Args, path: string, query: Record<string, unknown> = {}): Promise<void> {
  const { url, token } = await gatewayOf(options);
  const search = new URLSearchParams({ ...(query as Record<string, string>), format: "csv" });
  const response = await fetch(`${url}${path}?${search}`, { headers: { authorization: `Bearer ${token}` } }).catch(
    (cause: Error) => {
      throw unreachable(url, cause);
    },
  );
  if (!response.ok) throw refusal(response.status, await response.text());
  for await (const chunk of response.body ?? []) process.stdout.write(chunk);
}

function pathOf(tenant: string): string {
  return `/admin/tenants/${encodeURIComponent(tenant)}`;
}
