/** What needs wrangler, which is a development dependency: a kit that was installed without it can do all else. */
import { EdgeT5Error } from "../errors.ts";

/** @throws EdgeT5Error `E_USAGE` where wrangler is missing */
export function loadDeploy() {
  return withWrangler(() => import("../local/deploy.ts"));
}

/** @throws EdgeT5Error `E_USAGE` where wrangler is missing */
export function loadLocal() {
  return withWrangler(async () => {
    const [{ seedR2 }, { checkPort, serve }, { writeWorkers }, { migrateLocal }, origin] = await Promise.all([
      import("../local/seed-r2.ts"),
      import("../local/serve.ts"),
      import("../local/workers.ts"),
      import("../local/storage.ts"),
      import("../local/origin.ts"),
    ]);
    return { checkPort, migrateLocal, seedR2, serve, writeWorkers, ...origin };
  });
}

async function withWrangler<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw cause;
    throw new EdgeT5Error("E_USAGE", "This needs wrangler. Install it: npm i -D wrangler.", { cause });
  }
}
