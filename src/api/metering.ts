/** Prices, usage and invoices on the wire: what is asked for, and what is given as JSON and as CSV. */
import * as z from "zod";
import { ApiError } from "../api-error.ts";
import type { CsvCell } from "../metering/csv.ts";
import type { DeadLetter } from "../metering/dead-letters.ts";
import type { UsageEvent } from "../metering/event.ts";
import type { Invoice } from "../metering/invoice.ts";
import { DAY_MS, dayOf, monthOf, type Period, parseDay, parseMonth } from "../metering/period.ts";
import type { ListedPrice, NewPrice, Price } from "../metering/prices.ts";
import { USAGE_GROUPS, type UsageGroup, type UsageMark, type UsageRow } from "../metering/usage.ts";
import { timeJson } from "./control-plane.ts";
import { dollarsOf, microDollarsOf, priceSchema } from "./money.ts";
import { parseWith } from "./parse.ts";

// Prices

/** Above this a month's sums could leave the database's 64-bit integers. */
const MOST_DOLLARS = 1000;
/** A fine-tuning takes thousands of times the tokens of a request. */
const MOST_TRAINING_DOLLARS = 10;

const subject = z.string().min(1).max(200);

/** Amounts that are left out stay as they are; in a first version of a price they are 0. */
export const newPriceSchema = z
  .strictObject({
    /** Whose price it is; left out: everybody's. */
    tenant: subject.nullish(),
    /** One of that tenant's tasks. */
    task: subject.nullish(),
    model: subject.nullish(),
    /** Default: now. */
    valid_from: z.iso.datetime({ offset: true }).nullish(),
    input_per_1k: priceSchema("per 1,000 input tokens", 6, MOST_DOLLARS).optional(),
    output_per_1k: priceSchema("per 1,000 output tokens", 6, MOST_DOLLARS).optional(),
    training_per_1k: priceSchema("per 1,000 training tokens", 6, MOST_TRAINING_DOLLARS).optional(),
    per_request: priceSchema("a request", 9, MOST_DOLLARS).optional(),
    adapter_day: priceSchema("an adapter and day", 9, MOST_DOLLARS).optional(),
  })
  .refine(({ task, tenant }) => !task || tenant, {
    path: ["task"],
    message: "goes with a tenant, since names of tasks are each tenant's own; add tenant",
  })
  .refine(({ task, model }) => !task || !model, {
    path: ["model"],
    message: "does not go with a task, which names its model itself; leave one out",
  });

export function newPrice(body: z.output<typeof newPriceSchema>): NewPrice {
  return {
    tenant: body.tenant ?? null,
    task: body.task ?? null,
    model: body.model ?? null,
    validFrom: body.valid_from ? Date.parse(body.valid_from) : null,
    inputPer1k: body.input_per_1k ?? null,
    outputPer1k: body.output_per_1k ?? null,
    trainingPer1k: body.training_per_1k ?? null,
    perRequest: body.per_request ?? null,
    adapterDay: body.adapter_day ?? null,
  };
}

export function priceJson(price: Price) {
  return {
    id: String(price.id),
    object: "price" as const,
    tenant: price.tenant,
    task: price.task,
    model: price.model,
    valid_from: timeJson(price.validFrom),
    input_per_1k: microDollarsOf(price.inputPer1k),
    output_per_1k: microDollarsOf(price.outputPer1k),
    training_per_1k: microDollarsOf(price.trainingPer1k),
    per_request: dollarsOf(price.perRequest),
    adapter_day: dollarsOf(price.adapterDay),
  };
}

/** @param now milliseconds since 1970 */
export function listedPriceJson(price: ListedPrice, now: number) {
  const { validFrom, validUntil } = price;
  const hasEnded = validUntil !== null && validUntil <= now;
  return {
    ...priceJson(price),
    valid_until: timeJson(validUntil),
    status: validFrom > now ? ("scheduled" as const) : hasEnded ? ("past" as const) : ("current" as const),
  };
}

// Questions about usage

/** Longest span of one question, in days. */
const MOST_DAYS = 366;
const PAGE = 100;
const LONGEST_PAGE = 1000;

const day = z.string().refine((text) => parseDay(text) !== null, "a day such as 2026-11-24");

const spanFields = {
  /** First and last day, UTC; default: this month so far. */
  from: day.optional(),
  to: day.optional(),
  limit: z.coerce.number().int().min(1).max(LONGEST_PAGE).default(PAGE),
  /** `next_cursor` of the page before. */
  cursor: z.string().optional(),
  /** `csv` gives everything from the cursor on. */
  format: z.enum(["json", "csv"]).optional(),
};

const groups = z
  .string()
  .transform((text) => text.split(","))
  .pipe(
    z
      .array(z.enum(USAGE_GROUPS))
      .refine((names) => new Set(names).size === names.length, `each of ${USAGE_GROUPS.join(", ")} at most once`),
  );

export const usageQuerySchema = z.strictObject({ ...spanFields, group_by: groups.optional() });
export const eventsQuerySchema = z.strictObject(spanFields);
export const invoiceQuerySchema = z.strictObject({ format: spanFields.format });

const usageCursorSchema = z.strictObject({
  from: day,
  to: day,
  by: z.array(z.enum(USAGE_GROUPS)).min(1),
  snapshot: z.int().nonnegative(),
  after: z.array(z.string()),
});
const eventsCursorSchema = z.strictObject({ from: day, to: day, after: z.int().nonnegative() });

export interface Span {
  from: string;
  to: string;
  period: Period;
  limit: number;
}

export interface UsageQuestion extends Span {
  by: readonly UsageGroup[];
  mark: UsageMark | null;
}

export interface EventsQuestion extends Span {
  after: number;
}

/**
 * A cursor goes on with its own question; what is asked beside it must be the same.
 *
 * @param now milliseconds since 1970
 * @throws ApiError 400 `invalid_value`, `invalid_cursor`, …
 */
export function parseUsageQuery(query: Record<string, string>, now: number): UsageQuestion {
  const { group_by, cursor, ...fields } = parseWith(usageQuerySchema, query, "the query");
  const place = cursor === undefined ? null : readCursor(usageCursorSchema, cursor, fields);
  if (!place) return { ...spanOf(fields, now), by: group_by ?? ["day"], mark: null };
  const { by, snapshot, after } = place;
  if (after.length !== by.length || (group_by && group_by.join() !== by.join())) throw foreignCursor();
  return { ...spanOf({ ...fields, ...place }, now), by, mark: { snapshot, after } };
}

/** As {@link parseUsageQuery}, for the ledger itself. */
export function parseEventsQuery(query: Record<string, string>, now: number): EventsQuestion {
  const { cursor, ...fields } = parseWith(eventsQuerySchema, query, "the query");
  const place = cursor === undefined ? null : readCursor(eventsCursorSchema, cursor, fields);
  return { ...spanOf({ ...fields, ...place }, now), after: place?.after ?? 0 };
}

export function usageCursor({ from, to, by }: UsageQuestion, mark: UsageMark): string {
  return writeCursor({ from, to, by: [...by], ...mark } satisfies z.input<typeof usageCursorSchema>);
}

export function eventsCursor({ from, to }: EventsQuestion, after: number): string {
  return writeCursor({ from, to, after } satisfies z.input<typeof eventsCursorSchema>);
}

/** @throws ApiError 400 `invalid_value` */
export function parseInvoiceMonth(month: string, now: number): string {
  const period = parseMonth(month);
  const refuse = (what: string) => new ApiError(400, "invalid_value", what, { param: "month" });
  if (!period) throw refuse(`${JSON.stringify(month)} is no month. Write it as ${monthOf(now)}.`);
  if (period.start > now) throw refuse(`${month} has not begun. Ask for ${monthOf(now)} or an earlier month.`);
  return month;
}

function spanOf(fields: { from?: string | undefined; to?: string | undefined; limit: number }, now: number): Span {
  const to = fields.to ?? dayOf(now);
  const from = fields.from ?? `${to.slice(0, 7)}-01`;
  const first = parseDay(from);
  const last = parseDay(to);
  if (!first || !last) throw new Error("The days were not checked.");
  const refuse = (what: string) => new ApiError(400, "invalid_value", what, { param: "from" });
  if (first.start > last.start) throw refuse(`from (${from}) is after to (${to}). Swap them.`);
  const days = (last.end - first.start) / DAY_MS;
  if (days > MOST_DAYS) throw refuse(`${from} to ${to} are ${days} days; ask for up to ${MOST_DAYS} at once.`);
  return { from, to, period: { start: first.start, end: last.end }, limit: fields.limit };
}

function writeCursor(place: object): string {
  const bytes = new TextEncoder().encode(JSON.stringify(place));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
}

/** @throws ApiError 400 `invalid_cursor` */
function readCursor<Place extends { from: string; to: string }>(
  schema: z.ZodType<Place>,
  cursor: string,
  { from, to }: { from?: string | undefined; to?: string | undefined },
): Place {
  let place: Place;
  try {
    const text = atob(cursor.replaceAll("-", "+").replaceAll("_", "/"));
    place = schema.parse(JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (char) => char.charCodeAt(0)))));
  } catch (cause) {
    throw new ApiError(400, "invalid_cursor", "cursor is none of ours. Pass next_cursor of a page as it is.", {
      param: "cursor",
      cause,
    });
  }
  if ((from && from !== place.from) || (to && to !== place.to)) throw foreignCursor();
  return place;
}

function foreignCursor(): ApiError {
  return new ApiError(
    400,
    "invalid_cursor",
    "cursor belongs to another question. Ask with the same from, to and group_by, or with the cursor alone.",
    { param: "cursor" },
  );
}

// Answers

export function usagePageJson(question: UsageQuestion, rows: readonly UsageRow[], next: UsageMark | null) {
  return {
    object: "list" as const,
    from: question.from,
    to: question.to,
    group_by: question.by,
    data: rows.map((row) => ({ object: "usage" as const, ...usageFields(row) })),
    has_more: next !== null,
    next_cursor: next && usageCursor(question, next),
  };
}

function usageFields({ group, ...row }: UsageRow) {
  return {
    ...group,
    // Requests that name a model have none.
    ...(group.task === "" && { task: null }),
    requests: row.requests,
    cut_off_requests: row.cutOff,
    input_tokens: row.inputTokens,
    output_tokens: row.outputTokens,
    training_tokens: row.trainingTokens,
    work_units: row.workUnits,
    /** Dollars, adapters' days not included. */
    amount: dollarsOf(row.amount),
  };
}

export function usageColumns(by: readonly UsageGroup[]): string[] {
  return [
    ...by,
    "requests",
    "cut_off_requests",
    "input_tokens",
    "output_tokens",
    "training_tokens",
    "work_units",
    "amount",
  ];
}

export function usageCells(row: UsageRow): CsvCell[] {
  return Object.values(usageFields(row));
}

export function eventsPageJson(question: EventsQuestion, events: readonly UsageEvent[], next: number | null) {
  return {
    object: "list" as const,
    from: question.from,
    to: question.to,
    data: events.map((event) => ({ object: "usage.event" as const, ...eventFields(event) })),
    has_more: next !== null,
    next_cursor: next === null ? null : eventsCursor(question, next),
  };
}

function eventFields(event: UsageEvent) {
  return {
    id: event.id,
    at: timeJson(event.at),
    key: event.key,
    task: event.task,
    task_version: event.taskVersion,
    model: event.model,
    adapter: event.adapter,
    input_tokens: event.inputTokens,
    output_tokens: event.outputTokens,
    training_tokens: event.trainingTokens,
    work_units: event.workUnits,
    served_by: event.servedBy,
    outcome: event.outcome,
    duration_ms: event.durationMs,
  };
}

export const EVENT_COLUMNS: readonly (keyof ReturnType<typeof eventFields>)[] = [
  "id",
  "at",
  "key",
  "task",
  "task_version",
  "model",
  "adapter",
  "input_tokens",
  "output_tokens",
  "training_tokens",
  "work_units",
  "served_by",
  "outcome",
  "duration_ms",
];

export function eventCells(event: UsageEvent): CsvCell[] {
  const fields = eventFields(event);
  return EVENT_COLUMNS.map((name) => fields[name]);
}

/** A line's amount is requests × per_request + the sum of input, output and training tokens, each × its price / 1000. */
export function invoiceJson({ tenant, month, period, isOver, usage, adapters, total }: Invoice) {
  return {
    object: "invoice" as const,
    tenant,
    month,
    period_start: timeJson(period.start),
    period_end: timeJson(period.end),
    /** An open one is of a month that goes on. */
    status: isOver ? ("closed" as const) : ("open" as const),
    currency: "usd" as const,
    usage: usage.map((line) => ({
      task: line.task,
      model: line.model,
      requests: line.requests,
      input_tokens: line.inputTokens,
      output_tokens: line.outputTokens,
      training_tokens: line.trainingTokens,
      price: line.price && priceJson(line.price),
      amount: dollarsOf(line.amount),
    })),
    /** The amount is days × adapter_day. */
    adapters: adapters.map((line) => ({
      adapter: line.adapter,
      model: line.model,
      days: line.days.length,
      dates: line.days,
      price: line.price && priceJson(line.price),
      amount: dollarsOf(line.amount),
    })),
    total: dollarsOf(total),
  };
}

export const INVOICE_COLUMNS = [
  "kind",
  "month",
  "task",
  "adapter",
  "model",
  "requests",
  "input_tokens",
  "output_tokens",
  "training_tokens",
  "adapter_days",
  "price",
  "price_valid_from",
  "input_per_1k",
  "output_per_1k",
  "training_per_1k",
  "per_request",
  "adapter_day",
  "amount",
] as const;

export function invoiceCells({ month, usage, adapters }: Invoice): CsvCell[][] {
  const unit = (price: Price | null): CsvCell[] => {
    if (!price) return Array<null>(7).fill(null);
    const { id, valid_from, input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day } = priceJson(price);
    return [id, valid_from, input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day];
  };
  return [
    ...usage.map((line) => [
      "usage",
      month,
      line.task,
      null,
      line.model,
      line.requests,
      line.inputTokens,
      line.outputTokens,
      line.trainingTokens,
      null,
      ...unit(line.price),
      dollarsOf(line.amount),
    ]),
    ...adapters.map((line) => [
      "adapter",
      month,
      null,
      line.adapter,
      line.model,
      null,
      null,
      null,
      null,
      line.days.length,
      ...unit(line.price),
      dollarsOf(line.amount),
    ]),
  ];
}

export function deadLetterJson({ id, body, reason, at, replayedAt }: DeadLetter) {
  return {
    id,
    object: "dead_letter" as const,
    reason,
    body: JSON.parse(body) as unknown,
    at: timeJson(at),
    replayed_at: timeJson(replayedAt),
  };
}

export const stripeCustomerSchema = z.strictObject({
  /** Null: nobody is billed through Stripe. */
  customer: z
    .string()
    .regex(/^cus_\w{1,100}$/, "a Stripe customer's id, such as cus_NciAYcXfLnqBoz, or null")
    .nullable(),
});
