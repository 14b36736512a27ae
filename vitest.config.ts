import { readFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

// Tests start many processes: each module is compiled once.
process.env.NODE_COMPILE_CACHE ??= join(tmpdir(), "node-compile-cache");

const PACKAGE = fileURLToPath(new URL("model-split/default", import.meta.url));
const ADAPTERS = fileURLToPath(new URL("test/fixtures/adapters", import.meta.url));

export default defineConfig({
  test: {
    // Most tests wait for processes that they start: as many files at once as there are cores, not one less.
    maxWorkers: availableParallelism(),
    // The log has a line a request; what failed is told by its test.
    onConsoleLog: (text) => !text.includes('"msg":"request"'),
    projects: [
      {
        test: {
          name: "node",
          include: ["test/**/*.test.ts"],
          exclude: ["test/workers/**"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Inside workerd, with a local R2.
        plugins: [
          cloudflareTest({
            main: "functions/gateway/index.ts",
            miniflare: {
              compatibilityDate: "2026-10-01",
              compatibilityFlags: ["nodejs_compat", "enable_request_signal"],
              modulesRules: [
                { type: "CompiledWasm", include: ["**/*.wasm"] },
                { type: "Data", include: ["**/*.traineddata.gz", "**/*.png", "**/*.pdf"] },
              ],
              r2Buckets: ["SHARDS"],
              d1Databases: ["DB"],
              queueProducers: { USAGE: "edge-t5-usage", JOBS: "edge-t5-jobs" },
              queueConsumers: {
                "edge-t5-usage": {
                  maxBatchSize: 100,
                  maxBatchTimeout: 0.1,
                  maxRetries: 1,
                  deadLetterQueue: "edge-t5-usage-dead",
                },
                "edge-t5-usage-dead": { maxBatchSize: 100, maxBatchTimeout: 0.1, maxRetries: 100 },
              },
              durableObjects: { TENANTS: { className: "TenantMeter", useSQLite: true } },
              bindings: { MIGRATIONS: await readD1Migrations("functions/gateway/migrations") },
              serviceBindings: {
                /** Files of the packaged default model, for the tests to put into R2. */
                PACKAGE: async (request: { url: string }) =>
                  new Response(await readFile(join(PACKAGE, new URL(request.url).pathname))),
                /** Adapters for it, and what Hugging Face answers with them. */
                ADAPTERS: async (request: { url: string }) =>
                  new Response(await readFile(join(ADAPTERS, new URL(request.url).pathname))),
              },
            },
          }),
        ],
        test: {
          name: "workers",
          include: ["test/workers/**/*.test.ts"],
          setupFiles: ["test/workers/migrate.ts"],
          globalSetup: ["test/metering/stripe-double.ts", "test/placement/silent-origin.ts"],
          testTimeout: 60_000,
          // In one piece: its source maps name files that its package has not.
          deps: { optimizer: { ssr: { enabled: true, include: ["stripe"] } } },
        },
      },
    ],
  },
});
