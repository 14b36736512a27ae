/** The part of Cloudflare's D1 that metering uses: the library needs no Cloudflare types. */
export interface Statement {
  bind(...values: unknown[]): Statement;
  all<T>(): Promise<{ results: T[] }>;
  first<T>(): Promise<T | null>;
  run(): Promise<unknown>;
}

export interface Database {
  prepare(sql: string): Statement;
  /** All or none. */
  batch<T>(statements: Statement[]): Promise<{ results: T[] }[]>;
}
