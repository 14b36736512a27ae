/** The part of Cloudflare's D1Database that is used here: no Cloudflare types are needed. */

export interface Statement {
  bind(...values: unknown[]): Statement;
  first<Row>(): Promise<Row | null>;
  all<Row>(): Promise<{ results: Row[] }>;
  run(): Promise<{ meta: { changes: number } }>;
}

export interface Database {
  prepare(sql: string): Statement;
  /** All or none. */
  batch<Row>(statements: Statement[]): Promise<{ results: Row[]; meta: { changes: number } }[]>;
}

/** A part of a list: at most `limit` items, those after the one named. */
export interface PageOptions {
  limit: number;
  after: string | null;
}

export interface Page<Item> {
  items: Item[];
  hasMore: boolean;
}

/** @param rows one more than asked for, where there are more */
export function pageOf<Row, Item>(rows: readonly Row[], limit: number, toItem: (row: Row) => Item): Page<Item> {
  return { items: rows.slice(0, limit).map(toItem), hasMore: rows.length > limit };
}
