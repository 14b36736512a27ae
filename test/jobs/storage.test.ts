/** What an origin reads and writes: over a gateway that cuts it off, and by the bucket's own S3 interface. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import S3rver from "s3rver";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { BatchSpec } from "../../src/jobs/batch/spec.ts";
import { GatewayClient } from "../../src/jobs/origin/gateway-client.ts";
import { BucketStorage, GatewayStorage } from "../../src/jobs/origin/storage.ts";
import type { ClaimedJob } from "../../src/jobs/protocol.ts";
import { S3Store } from "../../src/store/s3.ts";

const SPEC: BatchSpec = {
  ...{ endpoint: "/v1/completions", completionWindow: "24h", rows: 1 },
  input: { id: "file-1", key: "tenants/acme/files/file-1", filename: "rows.jsonl" },
  targets: {
    mine: {
      task: null,
      modelName: "m",
      model: "m@0123456789abcdef",
      adapter: { name: "a", key: "tenants/acme/adapters/a/v" },
    },
  },
  lengths: {
    edge: { MAX_PROMPT_TOKENS: 1, MAX_NEW_TOKENS: 1, MAX_SEQUENCES: 1 },
    longest: { MAX_PROMPT_TOKENS: 2, MAX_NEW_TOKENS: 2, MAX_SEQUENCES: 1 },
  },
};
const JOB: ClaimedJob = {
  ...{ id: "batch_1", tenant: "acme", kind: "batch", created_at: 0, fence: 3, checkpoint: null },
  spec: SPEC,
};

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-storage-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const never = new AbortController().signal;
const text = async (stream: ReadableStream<Uint8Array> | null) => stream && new Response(stream as BodyInit).text();

test("an object that is cut off on the way is fetched again, and read as a whole", async () => {
  const whole = "row\n".repeat(100_000);
  let asked = 0;
  const server = createServer((_, response) => {
    asked++;
    response.writeHead(200, { "content-length": whole.length });
    if (asked > 2) return response.end(whole);
    response.write(whole.slice(0, 70_000 * asked), () => response.destroy());
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const storage = new GatewayStorage(new GatewayClient(url, "secret"), JOB, dir, never);
  expect((await text(await storage.input("files/file-1"))) === whole).toBe(true);
  expect(asked).toBe(3);
});

test("by S3: inputs that the job names, and artifacts below its lease", async () => {
  const options = { port: 0, address: "127.0.0.1", silent: true, directory: join(dir, "s3") };
  const server = new S3rver({ ...options, configureBuckets: [{ name: "edge-t5", configs: [] }] });
  const { port } = await server.run();
  onTestFinished(() => server.close());
  const credentials = { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" };
  const bucket = new S3Store({ endpoint: `http://127.0.0.1:${port}`, bucket: "edge-t5", ...credentials });
  const put = (key: string) => bucket.put(key, new TextEncoder().encode(key));
  const keys = {
    "files/file-1": "tenants/acme/files/file-1",
    "models/m@0123456789abcdef/manifest.json": "models/m/versions/0123456789abcdef/manifest.json",
    [`models/m@0123456789abcdef/blobs/${"0".repeat(64)}`]: `models/m/blobs/${"0".repeat(64)}`,
    "adapters/a/adapter_config.json": "tenants/acme/adapters/a/v/adapter_config.json",
  };
  for (const key of Object.values(keys)) await put(key);
  await put("tenants/other/files/file-2");
  const storage = new BucketStorage(bucket, JOB, dir, never);
  for (const [path, key] of Object.entries(keys)) expect(await text(await storage.input(path))).toBe(key);
  for (const path of ["files/file-2", "files/../../other/files/file-2", "models/m@0123456789abcdef/current.json"]) {
    expect(await storage.input(path)).toBeNull();
  }
  expect(await storage.put("part", new TextEncoder().encode("bytes"))).toBe("3/part");
  const file = join(dir, "output.jsonl");
  await writeFile(file, "lines\n");
  expect(await storage.put("output.jsonl", { file })).toBe("3/output.jsonl");
  expect(await text(await storage.artifact("3/part"))).toBe("bytes");
  expect(await text(await bucket.get("tenants/acme/jobs/batch_1/3/output.jsonl"))).toBe("lines\n");
  await expect(storage.artifact("3/none")).rejects.toMatchObject({ code: "E_IO" });
});
