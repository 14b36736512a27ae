/** `/admin/models`: versions of models, put, published, taken back and deleted. `edge-t5 push` and `rollback` call these. */
import { type Context, Hono } from "hono";
import type * as z from "zod";
import { publishSchema, rollbackSchema } from "../../src/api/model-versions.ts";
import { ApiError } from "../../src/api-error.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import type { ModelPointer } from "../../src/store/model-pointer.ts";
import { modelId, modelKey } from "../../src/store/r2.ts";
import { blobKey } from "../../src/t5/manifest.ts";
import { type ModelSummary, ModelVersions, modelNames } from "../../src/tenancy/model-versions.ts";
import { requireAdmin } from "./admin-auth.ts";
import type { GatewayEnv } from "./bindings.ts";
import { loadHalves } from "./halves.ts";
import { setCurrent } from "./models.ts";

/** Manifests have some hundred bytes a tensor. */
const MOST_MANIFEST_BYTES = 8 << 20;

const SHA256 = /^[0-9a-f]{64}$/;

export const adminModels = new Hono<GatewayEnv>();

adminModels.use(requireAdmin);

adminModels.get("/", async (c) => {
  const names = await modelNames(c.env.SHARDS);
  const models = await Promise.all(names.map((name) => new ModelVersions(c.env.SHARDS, name).summary()));
  return c.json({ data: models.map(describe) });
});

adminModels.get("/:name", async (c) => c.json(describe(await versionsOf(c).summary())));

/** Asked with HEAD by who is about to upload: whether it is there and whole. */
adminModels.get("/:name/blobs/:sha256", async (c) => {
  const { key, sha256 } = blobOf(c);
  const object = await c.env.SHARDS.head(key);
  if (object?.checksums.toJSON().sha256 !== sha256) {
    throw new ApiError(404, "blob_not_found", `There is no blob ${sha256}. Upload it with PUT.`);
  }
  return c.json({ sha256, bytes: object.size, uploaded: object.uploaded.toISOString() });
});

adminModels.put("/:name/blobs/:sha256", async (c) => {
  const { key, sha256 } = blobOf(c);
  const length = c.req.header("content-length");
  const { body } = c.req.raw;
  if (!length || !/^\d+$/.test(length)) {
    throw new ApiError(411, "length_required", "A blob is uploaded with its content-length.");
  }
  try {
    // Streamed through: R2 hashes what arrives, and keeps nothing if it is not what was named.
    const object = await c.env.SHARDS.put(key, body ?? new Uint8Array(0), { sha256 });
    return c.json({ sha256, bytes: object.size });
  } catch (cause) {
    if (!/checksum|sha-?256/i.test((cause as Error).message)) throw cause;
    throw new ApiError(
      400,
      "blob_corrupt",
      `What arrived does not have the SHA-256 ${sha256}. Upload it again; if that goes on, the package is damaged.`,
      { cause },
    );
  }
});

adminModels.put("/:name/versions/:version", async (c) => {
  const length = Number(c.req.header("content-length") ?? 0);
  if (length > MOST_MANIFEST_BYTES) {
    throw new ApiError(413, "request_too_large", `A manifest has up to ${MOST_MANIFEST_BYTES} bytes.`);
  }
  const { version } = c.req.param();
  const manifest = await versionsOf(c).put(version, await c.req.text());
  return c.json({ name: c.req.param("name"), version, blobs: Object.keys(manifest.blobs).length });
});

adminModels.post("/:name/publish", async (c) => {
  const versions = versionsOf(c);
  const { version, check } = await bodyOf(c, publishSchema);
  await versions.check(version);
  if (check) await checkLoads(c, modelId(versions.name, version));
  return moved(c, versions.name, await versions.publish(version));
});

adminModels.post("/:name/rollback", async (c) => {
  const versions = versionsOf(c);
  const { version } = await bodyOf(c, rollbackSchema);
  return moved(c, versions.name, await versions.rollback(version));
});

adminModels.delete("/:name/versions/:version", async (c) => {
  const { version } = c.req.param();
  const { blobs, bytes } = await versionsOf(c).delete(version);
  return c.json({ name: c.req.param("name"), version, deleted: true, blobs_deleted: blobs.length, bytes });
});

function versionsOf(c: Context<GatewayEnv>): ModelVersions {
  return new ModelVersions(c.env.SHARDS, c.req.param("name") ?? "");
}

function blobOf(c: Context<GatewayEnv>): { key: string; sha256: string } {
  const sha256 = c.req.param("sha256") ?? "";
  if (!SHA256.test(sha256)) throw new ApiError(400, "invalid_value", "A blob is named by its SHA-256, 64 hex digits.");
  return { key: modelKey(versionsOf(c).name, blobKey(sha256)), sha256 };
}

/**
 * Has the Workers load a version before requests get it: one that cannot be loaded is not published.
 *
 * @throws ApiError 409 `version_unusable`; 503 `overloaded` when others keep its room
 */
async function checkLoads(c: Context<GatewayEnv>, id: string): Promise<void> {
  try {
    await loadHalves(c.env, id);
  } catch (cause) {
    if (!(cause instanceof EdgeT5Error) || cause.code === "E_INTERNAL" || cause.code === "E_BUSY") throw cause;
    throw new ApiError(409, "version_unusable", `${id} was not published, since it does not load. ${cause.message}`, {
      cause,
    });
  }
}

function moved(c: Context<GatewayEnv>, name: string, pointer: ModelPointer): Response {
  if (pointer.version) setCurrent(name, pointer.version);
  return c.json({ name, version: pointer.version, previous: pointer.previous, updated: pointer.updated });
}

/** @throws ApiError 400 `invalid_json`, `invalid_value` */
async function bodyOf<T>(c: Context<GatewayEnv>, schema: z.ZodType<T>): Promise<T> {
  const text = await c.req.text();
  let json: unknown;
  try {
    json = text === "" ? {} : JSON.parse(text);
  } catch (cause) {
    throw new ApiError(400, "invalid_json", "The body is not JSON.", { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const param = issue?.path.join(".") || null;
  throw new ApiError(400, "invalid_value", `${param ?? "The body"}: ${issue?.message}.`, { param });
}

function describe({ name, pointer, versions, bytes }: ModelSummary) {
  return {
    name,
    version: pointer.version,
    previous: pointer.previous,
    updated: pointer.version === null ? null : pointer.updated,
    bytes,
    versions: versions.map(({ version, created, bytes }) => ({
      version,
      created: created.toISOString(),
      bytes,
      is_current: version === pointer.version,
    })),
  };
}
