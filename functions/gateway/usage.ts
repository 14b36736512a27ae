/** Usage and invoices: the same routes below `/v1` for a tenant, and below `/admin/tenants/:tenant` for the operator. */
import { type Context, Hono } from "hono";
import {
  EVENT_COLUMNS,
  eventCells,
  eventsPageJson,
  INVOICE_COLUMNS,
  invoiceCells,
  invoiceJson,
  invoiceQuerySchema,
  parseEventsQuery,
  parseInvoiceMonth,
  parseUsageQuery,
  usageCells,
  usageColumns,
  usagePageJson,
} from "../../src/api/metering.ts";
import { parseWith } from "../../src/api/parse.ts";
import { type CsvCell, csvStream } from "../../src/metering/csv.ts";
import { invoiceOf } from "../../src/metering/invoice.ts";
import { readEvents } from "../../src/metering/ledger.ts";
import { readUsage } from "../../src/metering/usage.ts";
import type { GatewayEnv } from "./bindings.ts";

/** Rows that CSV is read by. */
const CSV_PAGE = 1000;

/** @param tenantOf whose usage a request may see; throws where there is nobody */
export function usageRoutes(tenantOf: (c: Context<GatewayEnv>) => string | Promise<string>) {
  const routes = new Hono<GatewayEnv>();

  routes.get("/usage", async (c) => {
    const tenant = await tenantOf(c);
    const question = parseUsageQuery(c.req.query(), Date.now());
    const { by, period, mark, limit } = question;
    const db = c.env.DB;
    if (wantsCsv(c)) {
      return csv(c, `usage-${question.from}-${question.to}`, usageColumns(by), mark, async (from) => {
        const { rows, next } = await readUsage(db, tenant, period, by, from, CSV_PAGE);
        return { rows: rows.map(usageCells), next };
      });
    }
    const { rows, next } = await readUsage(db, tenant, period, by, mark, limit);
    return c.json(usagePageJson(question, rows, next));
  });

  routes.get("/usage/events", async (c) => {
    const tenant = await tenantOf(c);
    const question = parseEventsQuery(c.req.query(), Date.now());
    const { period, after, limit } = question;
    const db = c.env.DB;
    if (wantsCsv(c)) {
      return csv(c, `events-${question.from}-${question.to}`, EVENT_COLUMNS, after, async (from) => {
        const { events, next } = await readEvents(db, tenant, period, from ?? 0, CSV_PAGE);
        return { rows: events.map(eventCells), next };
      });
    }
    const { events, next } = await readEvents(db, tenant, period, after, limit);
    return c.json(eventsPageJson(question, events, next));
  });

  routes.get("/invoices/:month", async (c) => {
    const tenant = await tenantOf(c);
    const now = Date.now();
    const month = parseInvoiceMonth(c.req.param("month"), now);
    parseWith(invoiceQuerySchema, c.req.query(), "the query");
    const invoice = await invoiceOf(c.env.DB, tenant, month, now);
    if (!wantsCsv(c)) return c.json(invoiceJson(invoice));
    const rows = invoiceCells(invoice);
    return csv(c, `invoice-${tenant}-${month}`, INVOICE_COLUMNS, null, async () => ({ rows, next: null }));
  });

  return routes;
}

/** `?format=csv`, or an `accept` that asks for nothing else. */
function wantsCsv(c: Context<GatewayEnv>): boolean {
  const format = c.req.query("format");
  return format ? format === "csv" : /^\s*text\/csv\s*(;|,|$)/i.test(c.req.header("accept") ?? "");
}

/**
 * A download, page by page. The first page is read before the answer begins, so that what fails has a status.
 *
 * @param read rows from a mark on (null: the first ones), and where the next ones begin
 */
async function csv<Mark>(
  c: Context<GatewayEnv>,
  name: string,
  columns: readonly string[],
  from: Mark | null,
  read: (from: Mark | null) => Promise<{ rows: CsvCell[][]; next: Mark | null }>,
): Promise<Response> {
  const first = await read(from);
  async function* pages(): AsyncGenerator<CsvCell[][]> {
    for (let page = first; ; page = await read(page.next)) {
      yield page.rows;
      if (page.next === null) return;
    }
  }
  return c.body(csvStream(columns, pages()), 200, {
    "content-type": "text/csv; charset=utf-8; header=present",
    "content-disposition": `attachment; filename="${name}.csv"`,
    "cache-control": "no-store",
  });
}
