/** What is deployed, and no more. */
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { bundleOf, type WorkerName } from "../bench/bundles.ts";

const BUILD_MS = 60_000;

async function sizeAndCode(worker: WorkerName): Promise<{ kilobytes: number; code: string; files: string[] }> {
  const files = await bundleOf(worker);
  const kilobytes = [...files.values()].reduce((sum, bytes) => sum + gzipSync(bytes).length, 0) / 1e3;
  return { kilobytes, code: files.get("index.js")?.toString() ?? "", files: [...files.keys()] };
}

test("the gateway has a tokenizer and no kernels", { timeout: BUILD_MS }, async () => {
  const { kilobytes, code, files } = await sizeAndCode("gateway");
  expect(kilobytes).toBeLessThan(300);
  expect(files).toEqual(["index.js"]);
  expect(code).toContain("id_to_token");
});

test.each(["encoder", "decoder", "model"] as const)(
  "the %s has kernels and no tokenizer",
  {
    timeout: BUILD_MS,
  },
  async (worker) => {
    const { kilobytes, code, files } = await sizeAndCode(worker);
    expect(kilobytes).toBeLessThan(150);
    expect(files.filter((name) => name.endsWith(".wasm"))).toHaveLength(2);
    expect(code).not.toContain("id_to_token");
  },
);

test("no bundle has messages in languages that nobody asked for", { timeout: BUILD_MS }, async () => {
  // zod has them all, and a bundler drops them only where zod is imported as a namespace.
  for (const worker of ["gateway", "decoder"] as const) {
    expect((await sizeAndCode(worker)).code).not.toMatch(/\p{Script=Cyrillic}|\p{Script=Hebrew}|\\u04[0-9a-f]{2}/iu);
  }
});
