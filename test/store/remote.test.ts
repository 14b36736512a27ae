/** Packages over HTTP and in a bucket that speaks S3, on servers of this process. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import S3rver from "s3rver";
import { expect, onTestFinished, test } from "vitest";
import { HttpStore } from "../../src/store/http.ts";
import { S3Store } from "../../src/store/s3.ts";
import { readText } from "../../src/store/store.ts";

test("S3: what is put is got; an unknown key is refused", async () => {
  const directory = await mkdtemp(join(tmpdir(), "edge-t5-s3-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const server = new S3rver({
    address: "127.0.0.1",
    port: 0,
    silent: true,
    directory,
    configureBuckets: [{ name: "models", configs: [] }],
  });
  const { port } = await server.run();
  onTestFinished(() => server.close());
  const options = { endpoint: `http://127.0.0.1:${port}`, bucket: "models", prefix: "a/b", accessKeyId: "S3RVER" };
  const store = new S3Store({ ...options, secretAccessKey: "S3RVER" });
  expect(await store.get("manifest.json")).toBeNull();
  await store.put("manifest.json", new TextEncoder().encode("first"));
  await store.put("manifest.json", new Response("second").body as ReadableStream<Uint8Array>);
  expect(await readText(store, "manifest.json")).toBe("second");
  const stranger = new S3Store({ ...options, accessKeyId: "UNKNOWN", secretAccessKey: "wrong" });
  await expect(stranger.get("manifest.json")).rejects.toMatchObject({ code: "E_IO" });
  await expect(stranger.put("manifest.json", new Uint8Array(1))).rejects.toMatchObject({ code: "E_IO" });
  expect(await readText(store, "manifest.json")).toBe("second");
});

test("HTTP: 404 is nothing, other failures and silence are clear errors", async () => {
  const server = createServer((request, response) => {
    const status = request.url === "/m/there" ? 200 : request.url === "/m/missing" ? 404 : 503;
    response.writeHead(status).end(`${request.headers.authorization}`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/m/`;
  const store = new HttpStore(address, { headers: { authorization: "Bearer x" } });
  expect(await readText(store, "there")).toBe("Bearer x");
  expect(await store.get("missing")).toBeNull();
  await expect(store.get("broken")).rejects.toMatchObject({ code: "E_IO", message: expect.stringContaining("503") });
  await expect(new HttpStore("http://127.0.0.1:1").get("x")).rejects.toMatchObject({ code: "E_IO" });
});
