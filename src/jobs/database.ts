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
