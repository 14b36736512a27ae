/** `/v1/files`: what a tenant's jobs read and write. */
import { Hono } from "hono";
import { listJson } from "../../src/api/control-plane.ts";
import { fileJson, filesQuerySchema, uploadSchema } from "../../src/api/files.ts";
import { parseWith } from "../../src/api/parse.ts";
import { addFile, deleteFile, fileNotFound, findFile, listFiles, newFile } from "../../src/jobs/files.ts";
import type { GatewayEnv } from "./bindings.ts";
import { receiveFile } from "./upload.ts";

export const files = new Hono<GatewayEnv>();

files.get("/", async (c) => {
  const { tenant } = c.get("caller");
  const page = await listFiles(c.env.DB, tenant, parseWith(filesQuerySchema, c.req.query(), "a list's query"));
  return c.json(listJson(page, fileJson));
});

files.post("/", async (c) => {
  const { tenant } = c.get("caller");
  const { SHARDS: bucket, DB: db, MAX_FILE_BYTES, FILE_BYTES } = c.env;
  const { id, key } = newFile(tenant);
  const upload = await receiveFile(c.req.raw, bucket, { name: "file", key, mostBytes: MAX_FILE_BYTES });
  try {
    const { purpose } = parseWith(uploadSchema, Object.fromEntries(upload.fields), "a file's form");
    const { filename, bytes } = upload;
    const file = { id, tenant, purpose, filename, bytes, key, createdAt: Date.now() };
    return c.json(fileJson(await addFile(db, file, FILE_BYTES)));
  } catch (error) {
    await bucket.delete(key);
    throw error;
  }
});

files.get("/:file", async (c) => {
  const id = c.req.param("file");
  const file = await findFile(c.env.DB, c.get("caller").tenant, id);
  if (!file) throw fileNotFound(id);
  return c.json(fileJson(file));
});

files.get("/:file/content", async (c) => {
  const id = c.req.param("file");
  const file = await findFile(c.env.DB, c.get("caller").tenant, id);
  const object = file && (await c.env.SHARDS.get(file.key));
  if (!object) throw fileNotFound(id);
  return c.body(object.body, 200, {
    "content-type": "application/octet-stream",
    "content-length": String(object.size),
    "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(file.filename)}`,
  });
});

files.delete("/:file", async (c) => {
  const id = c.req.param("file");
  const file = await deleteFile(c.env.DB, c.get("caller").tenant, id, Date.now());
  if (!file) throw fileNotFound(id);
  await c.env.SHARDS.delete(file.key);
  return c.json({ id, object: "file", deleted: true });
});
