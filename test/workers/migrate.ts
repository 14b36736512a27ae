/** The gateway's database, as its migrations make it. */
import { applyD1Migrations, type D1Migration, env } from "cloudflare:test";

const { DB, MIGRATIONS } = env as unknown as { DB: D1Database; MIGRATIONS: D1Migration[] };
await applyD1Migrations(DB, MIGRATIONS);
