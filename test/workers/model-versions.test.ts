/** Versions of a model over R2 as workerd has it: put, published, taken back, deleted; two at once; and while requests go on. */
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { modelKey, versionKey } from "../../src/store/r2.ts";
import { blobKey, MANIFEST_KEY, type Manifest } from "../../src/t5/manifest.ts";
import { BlobsMissing, FRESH_MS, GRACE_MS, ModelVersions, versionOf } from "../../src/tenancy/model-versions.ts";
import {
  ADMIN_TOKEN,
  AS_ADMIN,
  bucket,
  byName,
  complete,
  type ErrorBody,
  packageFile,
  putBlob,
  putModel,
  send,
} from "./isolate.ts";

const PROMPT = "translate English to German: The house is old.";
const ANSWER = "Das Haus ist alt.";

interface Pointer {
  version: string;
  previous: string[];
}

let text: string;
let manifest: Manifest;
beforeAll(async () => {
  text = new TextDecoder().decode(await packageFile(MANIFEST_KEY));
  manifest = JSON.parse(text) as Manifest;
});

/** The packaged model, which differs from others by what it generates at most. */
async function versionWith(maxNewTokens: number): Promise<{ version: string; text: string }> {
  const changed = JSON.stringify({ ...manifest, generation: { max_new_tokens: maxNewTokens } });
  return { version: await versionOf(changed), text: changed };
}

function admin(method: string, path: string, body?: BodyInit | object, headers: Record<string, string> = {}) {
  const isRaw = body === undefined || typeof body === "string" || body instanceof ArrayBuffer;
  return send(`/admin/models${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, ...headers },
    ...(body !== undefined && { body: isRaw ? (body as BodyInit) : JSON.stringify(body) }),
  });
}

async function refused(answer: Promise<Response>): Promise<[status: number, code: string]> {
  const response = await answer;
  return [response.status, (await response.json<ErrorBody>()).error.code];
}

async function upload(name: string, hash: string): Promise<Response> {
  const bytes = await packageFile(blobKey(hash));
  return admin("PUT", `/${name}/blobs/${hash}`, bytes, { "content-length": String(bytes.byteLength) });
}

async function uploadAll(name: string): Promise<void> {
  for (const hash of Object.keys(manifest.blobs)) expect((await upload(name, hash)).status).toBe(200);
}

async function put(name: string, maxNewTokens: number): Promise<string> {
  const { version, text } = await versionWith(maxNewTokens);
  expect((await admin("PUT", `/${name}/versions/${version}`, text)).status).toBe(200);
  return version;
}

async function tokens(name: string): Promise<number> {
  const response = await complete({ model: name, prompt: PROMPT });
  expect(response.status).toBe(200);
  return (await response.json<{ usage: { completion_tokens: number } }>()).usage.completion_tokens;
}

describe("over HTTP", () => {
  test("nothing without the admin token", async () => {
    for (const [method, path] of [
      ["GET", ""],
      ["PUT", "/a/blobs/x"],
      ["POST", "/a/publish"],
      ["DELETE", "/a/versions/x"],
    ] as const) {
      expect(await refused(send(`/admin/models${path}`, { method }))).toEqual([401, "invalid_admin_token"]);
    }
  });

  test("blobs, manifest, publish, another version, back again", async () => {
    const name = "pushed";
    const [hash = ""] = Object.keys(manifest.blobs);
    expect((await admin("HEAD", `/${name}/blobs/${hash}`)).status).toBe(404);
    const first = await versionWith(2);
    const early = await admin("PUT", `/${name}/versions/${first.version}`, first.text);
    expect(early.status).toBe(409);
    expect(await early.json()).toMatchObject({
      error: { code: "blobs_missing", missing: Object.keys(manifest.blobs) },
    });
    expect(await refused(complete({ model: name, prompt: PROMPT }))).toEqual([404, "model_not_found"]);

    await uploadAll(name);
    expect((await admin("HEAD", `/${name}/blobs/${hash}`)).status).toBe(200);
    expect((await upload(name, hash)).status).toBe(200);
    await put(name, 2);
    expect(await refused(complete({ model: name, prompt: PROMPT }))).toEqual([404, "model_not_found"]);
    const published = await admin("POST", `/${name}/publish`, { version: first.version });
    expect(await published.json()).toMatchObject({ version: first.version, previous: [] });
    expect(await tokens(name)).toBe(2);

    const second = await put(name, 4);
    expect(await tokens(name)).toBe(2);
    const moved = await (await admin("POST", `/${name}/publish`, { version: second })).json<Pointer>();
    expect(moved).toMatchObject({ version: second, previous: [first.version] });
    const answer = await complete({ model: name, prompt: PROMPT });
    expect(answer.headers.get("x-model-version")).toBe(second);
    expect(await tokens(name)).toBe(4);
    // Again: nothing changes, nor is it something to go back to.
    expect(await (await admin("POST", `/${name}/publish`, { version: second })).json()).toEqual(moved);

    const { data } = await (await admin("GET", "")).json<{ data: { name: string }[] }>();
    const total = Object.values(manifest.blobs).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(data.find((model) => model.name === name)).toMatchObject({
      version: second,
      bytes: total,
      versions: [
        { version: second, bytes: total, is_current: true },
        { version: first.version, bytes: total, is_current: false },
      ],
    });

    expect(await (await admin("POST", `/${name}/rollback`)).json()).toMatchObject({
      version: first.version,
      previous: [],
    });
    expect(await tokens(name)).toBe(2);
    expect(await refused(admin("POST", `/${name}/rollback`))).toEqual([409, "nothing_to_roll_back"]);
    expect(await (await admin("POST", `/${name}/rollback`, { version: second })).json()).toMatchObject({
      version: second,
    });
    expect(await tokens(name)).toBe(4);
    const listed = await (await send("/v1/models")).json<{ data: { id: string }[] }>();
    expect(listed.data.map(({ id }) => id)).toContain(name);
  });

  test("what is refused", async () => {
    const name = "refused";
    await uploadAll(name);
    const { version, text } = await versionWith(3);
    const [hash = ""] = Object.keys(manifest.blobs);
    const wrong = new TextEncoder().encode("not this").buffer as ArrayBuffer;
    const cases: [string, string, BodyInit | object | undefined, number, string][] = [
      ["PUT", "/-bad/versions/0", text, 400, "invalid_model_name"],
      ["PUT", `/${name}/versions/0123456789abcdef`, text, 400, "version_mismatch"],
      ["PUT", `/${name}/versions/${version}`, "{", 400, "invalid_manifest"],
      ["PUT", `/${name}/blobs/abc`, wrong, 400, "invalid_value"],
      ["PUT", `/${name}/blobs/${hash}`, wrong, 400, "blob_corrupt"],
      ["POST", `/${name}/publish`, { version: "0123456789abcdef" }, 404, "version_not_found"],
      ["POST", `/${name}/publish`, { version: "../x" }, 404, "version_not_found"],
      ["POST", `/${name}/publish`, {}, 400, "invalid_value"],
      ["POST", `/${name}/publish`, "{", 400, "invalid_json"],
      ["POST", `/${name}/rollback`, undefined, 404, "model_not_found"],
      ["DELETE", `/${name}/versions/0123456789abcdef`, undefined, 404, "version_not_found"],
      ["GET", "/nobody", undefined, 404, "model_not_found"],
      ["GET", `/${name}/blobs/${"0".repeat(64)}`, undefined, 404, "blob_not_found"],
    ];
    for (const [method, path, body, status, code] of cases) {
      const length = body instanceof ArrayBuffer ? { "content-length": String(body.byteLength) } : {};
      expect([path, ...(await refused(admin(method, path, body, length)))]).toEqual([path, status, code]);
    }
    // A blob that was refused did not take the good one's place.
    expect((await admin("HEAD", `/${name}/blobs/${hash}`)).status).toBe(200);
    const unsized = new ReadableStream({ start: (controller) => controller.close() });
    const init = { method: "PUT", headers: { authorization: `Bearer ${ADMIN_TOKEN}` }, body: unsized };
    expect(await refused(send(`/admin/models/${name}/blobs/${hash}`, init))).toEqual([411, "length_required"]);
  });

  test("a version that does not load is not published", async () => {
    const name = "unloadable";
    await putModel(name);
    const before = await tokens(name);
    const decoder = Object.entries(manifest.blobs).find(([, { role }]) => role === "decoder")?.[0] ?? "";
    const version = await put(name, 3);
    // A byte that rotted after it was uploaded, in the only copy.
    await putBlob(name, decoder, (bytes) => bytes.with(1000, bytes[1000]! ^ 1));
    expect(await refused(admin("POST", `/${name}/publish`, { version }))).toEqual([409, "version_unusable"]);
    expect(await tokens(name)).toBe(before);
    await putBlob(name, decoder);
    expect((await admin("POST", `/${name}/publish`, { version })).status).toBe(200);
    expect(await tokens(name)).toBe(3);
  });
});

describe("who publishes at once", () => {
  test("loses nobody's change", async () => {
    const name = "crowd";
    await putModel(name);
    const versions = new ModelVersions(bucket, name);
    const { version: original } = await versions.pointer();
    const texts = await Promise.all(Array.from({ length: 8 }, (_, i) => versionWith(i + 1)));
    for (const { version, text } of texts) await versions.put(version, text);
    await Promise.all(texts.map(({ version }) => new ModelVersions(bucket, name).publish(version)));
    const { version, previous } = await versions.pointer();
    expect([version, ...previous].sort()).toEqual([original, ...texts.map(({ version }) => version)].sort());
    expect(previous.at(-1)).toBe(original);
  });

  test("first publishers of a new name, too", async () => {
    const name = "new-crowd";
    for (const hash of Object.keys(manifest.blobs)) await putBlob(name, hash);
    const texts = await Promise.all([1, 2, 3, 4].map(versionWith));
    await Promise.all(
      texts.map(async ({ version, text }) => {
        const versions = new ModelVersions(bucket, name);
        await versions.put(version, text);
        await versions.publish(version);
      }),
    );
    const { version, previous } = await new ModelVersions(bucket, name).pointer();
    expect([version, ...previous].sort()).toEqual(texts.map(({ version }) => version).sort());
  });
});

describe("deleting", () => {
  const later = (ms: number) => () => Date.now() + ms;

  test("leaves what is current, what was until just now, and every blob that is named", async () => {
    const name = "kept";
    await putModel(name);
    const now = new ModelVersions(bucket, name);
    const first = (await now.pointer()).version ?? "";
    const second = await versionWith(5);
    await now.put(second.version, second.text);
    await now.publish(second.version);
    await expect(now.delete(second.version)).rejects.toMatchObject({ status: 409, code: "version_is_current" });
    await expect(now.delete(first)).rejects.toMatchObject({ status: 409, code: "version_in_use" });
    const afterwards = new ModelVersions(bucket, name, later(GRACE_MS + 60_000));
    expect(await afterwards.delete(first)).toEqual({ blobs: [], bytes: 0 });
    expect(await now.pointer()).toMatchObject({ version: second.version, previous: [], deleting: [] });
    expect(await bucket.head(modelKey(name, versionKey(first, MANIFEST_KEY)))).toBeNull();
    await expect(now.delete(first)).rejects.toMatchObject({ status: 404 });
    await expect(now.rollback()).rejects.toMatchObject({ code: "nothing_to_roll_back" });
    expect(await tokens(name)).toBe(5);
  });

  test("takes blobs that nothing names, after a while", async () => {
    const name = "orphans";
    await putModel(name);
    const orphan = await bucket.put(modelKey(name, blobKey("a".repeat(64))), "of a push that was killed");
    const other = await versionWith(6);
    const now = new ModelVersions(bucket, name);
    await now.put(other.version, other.text);
    // A push may be about to name it.
    expect(await now.delete(other.version)).toEqual({ blobs: [], bytes: 0 });
    await now.put(other.version, other.text);
    const afterwards = new ModelVersions(bucket, name, later(GRACE_MS + 60_000));
    expect(await afterwards.delete(other.version)).toEqual({ blobs: ["a".repeat(64)], bytes: orphan?.size });
    expect(await tokens(name)).toBeGreaterThan(0);
  });

  test("knows the blobs of versions that a later build put", async () => {
    const name = "later-format";
    await putModel(name);
    const { version, text } = await versionWith(5);
    const now = new ModelVersions(bucket, name);
    await now.put(version, text);
    const future = JSON.stringify({ format: 99, blobs: { ["b".repeat(64)]: { bytes: 3, role: "new" } } });
    await bucket.put(modelKey(name, versionKey("0123456789abcdef", MANIFEST_KEY)), future);
    await bucket.put(modelKey(name, blobKey("b".repeat(64))), "abc");
    const afterwards = new ModelVersions(bucket, name, later(GRACE_MS + 60_000));
    expect(await afterwards.delete(version)).toEqual({ blobs: [], bytes: 0 });
    expect((await now.summary()).versions.find(({ version }) => version === "0123456789abcdef")?.bytes).toBe(3);
    expect(await refused(admin("POST", `/${name}/publish`, { version: "0123456789abcdef" }))).toEqual([
      503,
      "model_unavailable",
    ]);
  });

  test("can be interrupted: the version stays unpublishable until it is deleted for good", async () => {
    const name = "interrupted";
    await putModel(name);
    const { version, text } = await versionWith(7);
    await new ModelVersions(bucket, name).put(version, text);
    const broken = new Proxy(bucket, {
      get(target, property) {
        if (property === "delete") return () => Promise.reject(new Error("storage is away"));
        const value: unknown = Reflect.get(target, property);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    await expect(new ModelVersions(broken, name).delete(version)).rejects.toThrow("storage is away");
    const versions = new ModelVersions(bucket, name);
    const attempts = [
      () => versions.publish(version),
      () => versions.put(version, text),
      () => versions.rollback(version),
    ];
    for (const attempt of attempts) {
      await expect(attempt()).rejects.toMatchObject({ status: 409, code: "version_being_deleted" });
    }
    await versions.delete(version);
    await versions.put(version, text);
    expect(await versions.publish(version)).toMatchObject({ version, deleting: [] });
  });

  test("a push that found blobs there which a deletion may take now is told to send them again", async () => {
    const name = "racing";
    for (const hash of Object.keys(manifest.blobs)) await putBlob(name, hash);
    const { version, text } = await versionWith(8);
    const late = new ModelVersions(bucket, name, later(FRESH_MS + 60_000));
    const error = await late.put(version, text).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(BlobsMissing);
    expect((error as BlobsMissing).missing).toEqual(Object.keys(manifest.blobs));
    await new ModelVersions(bucket, name).put(version, text);
    // Named by a manifest that every deletion since has seen: they stay.
    const next = await versionWith(9);
    await new ModelVersions(bucket, name, later(FRESH_MS + 60_000)).put(next.version, next.text);
  });
});

describe("a version that was published elsewhere", () => {
  test("is noticed within ten seconds, in the background; the last one known serves while storage is away", async () => {
    const name = "elsewhere";
    await putModel(name);
    const first = await versionWith(3);
    const second = await versionWith(4);
    const versions = new ModelVersions(bucket, name);
    for (const { version, text } of [first, second]) await versions.put(version, text);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    onTestFinished(() => void vi.useRealTimers());
    const passes = (ms: number) => vi.setSystemTime(Date.now() + ms);

    await versions.publish(first.version);
    passes(11_000);
    expect(await tokens(name)).toBe(3);
    await versions.publish(second.version);
    passes(3_000);
    expect(await tokens(name)).toBe(3);
    passes(2_000);
    // This one begins the look, and does not wait for it.
    expect(await tokens(name)).toBe(3);
    expect(await tokens(name)).toBe(4);

    await versions.rollback();
    passes(11_000);
    const away = new Proxy(bucket, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property);
        if (typeof value !== "function") return value;
        if (property === "get") return () => Promise.reject(new Error("storage is away"));
        return value.bind(target);
      },
    });
    const served = await complete({ model: name, prompt: PROMPT }, { shards: away });
    expect([served.status, served.headers.get("x-model-version")]).toEqual([200, second.version]);
    expect(await tokens(name)).toBe(3);
  });
});

test("two models in a room for one: requests for both, whole and streamed, all are answered", async () => {
  for (const name of ["room-a", "room-b"]) await putModel(name);
  // One decoder of this size, not two.
  const limits = { MAX_SEQUENCES: 1, MAX_WASM_BYTES: 12_000_000 };
  const bodies = Array.from({ length: 40 }, (_, i) => ({
    model: i % 2 ? "room-a" : "room-b",
    prompt: PROMPT,
    stream: i % 3 === 0,
  }));
  const answers = await Promise.all(
    bodies.map(async (body) => {
      const response = await complete(body, { limits });
      return [response.status, textOf(await response.text())];
    }),
  );
  expect(answers).toEqual(Array(bodies.length).fill([200, ANSWER]));
  const { decoder } = await (await send("/healthz", AS_ADMIN)).json<{
    decoder: { models: Record<string, { loads: number; failures: number }> };
  }>();
  const rooms = Object.entries(byName(decoder.models)).filter(([name]) => name.startsWith("room-"));
  expect(rooms.map(([, { failures }]) => failures)).toEqual([0]);
});

/** An answer's text, whole or as events. */
function textOf(body: string): string {
  const parts = body.startsWith("data: ")
    ? body
        .split("\n\n")
        .filter((line) => line.startsWith("data: {"))
        .map((line) => line.slice("data: ".length))
    : [body];
  return parts.map((part) => (JSON.parse(part) as { choices: { text: string }[] }).choices[0]?.text).join("");
}
