/** `/v1/adapters`: a tenant's LoRA adapters, in PEFT's own files. */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { listJson, parsePage, timeJson } from "../../src/api/control-plane.ts";
import { ApiError } from "../../src/api-error.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../../src/t5/adapter.ts";
import { parseGenerationParams } from "../../src/t5/generation/config.ts";
import { type Adapter, deleteAdapter, listAdapters, putAdapter, readAdapterRow } from "../../src/tenancy/adapters.ts";
import { type Caller, mayUse } from "../../src/tenancy/caller.ts";
import { TASK_NAME } from "../../src/tenancy/task-definition.ts";
import type { GatewayBindings, GatewayEnv } from "./bindings.ts";
import { decode, encode, loadHalves } from "./halves.ts";
import { findModel, type GatewayModel, modelNotFound } from "./models.ts";

type Owner = Pick<Caller, "tenant" | "models">;

/** It passes through this isolate's memory several times over. */
export const MAX_UPLOAD_BYTES = 16 << 20;

/** @throws ApiError 413 `request_too_large` */
export const limitUpload = bodyLimit({
  maxSize: MAX_UPLOAD_BYTES,
  onError: () => {
    throw new ApiError(
      413,
      "request_too_large",
      `The body is over ${MAX_UPLOAD_BYTES} bytes. Train the adapter with a lower rank, or save it as float16.`,
    );
  },
});

export function adapterRoutes(ownerOf: (c: Context<GatewayEnv>) => Owner | Promise<Owner>) {
  const routes = new Hono<GatewayEnv>();

  routes.get("/", async (c) => {
    const { tenant } = await ownerOf(c);
    return c.json(listJson(await listAdapters(c.env.DB, tenant, parsePage(c.req.query())), adapterJson));
  });

  routes.get("/:name", async (c) => {
    const { tenant } = await ownerOf(c);
    const name = c.req.param("name");
    const adapter = await readAdapterRow(c.env.DB, tenant, name);
    if (!adapter) throw adapterNotFound(name);
    return c.json(adapterJson(adapter));
  });

  routes.put("/:name", async (c) => {
    const owner = await ownerOf(c);
    const name = c.req.param("name");
    if (!TASK_NAME.test(name)) {
      throw new ApiError(
        400,
        "invalid_value",
        "An adapter's name has letters, digits, . _ -, and begins with one of the first two.",
        {
          param: "name",
        },
      );
    }
    const { modelName, config, tensors } = await readUpload(c);
    if (!mayUse(owner, modelName)) throw modelNotFound(modelName);
    const model = await findModel(
      c.env.SHARDS,
      modelName,
      (work) => c.executionCtx.waitUntil(work),
      (id) => loadHalves(c.env, id),
    );
    const { adapter, isNew } = await putAdapter(
      {
        db: c.env.DB,
        bucket: c.env.SHARDS,
        tryOut: (key) => tryOut(c.env, owner.tenant, model, key, c.req.raw.signal),
      },
      { tenant: owner.tenant, name },
      { config, tensors },
      { model: modelName, config: model.manifest.model },
      Date.now(),
    );
    return c.json(adapterJson(adapter), isNew ? 201 : 200);
  });

  routes.delete("/:name", async (c) => {
    const { tenant } = await ownerOf(c);
    const name = c.req.param("name");
    if (!(await deleteAdapter(c.env.DB, tenant, name, Date.now()))) throw adapterNotFound(name);
    return c.json({ id: name, object: "adapter", deleted: true });
  });

  return routes;
}

/** @throws ApiError 400 `missing_file`, `missing_required_parameter`, `invalid_body`; 413 `request_too_large` */
async function readUpload(
  c: Context<GatewayEnv>,
): Promise<{ modelName: string; config: string; tensors: Uint8Array<ArrayBuffer> }> {
  const form = await c.req.parseBody().catch(() => ({}) as Record<string, string | File>);
  const fileOf = (name: string) => {
    const file = form[name];
    if (file instanceof File) return file;
    throw new ApiError(
      400,
      "missing_file",
      `The form has no file ${name}. Send PEFT's two files as multipart/form-data: -F model=NAME -F ${ADAPTER_CONFIG}=@… -F ${ADAPTER_TENSORS}=@…`,
      { param: name },
    );
  };
  const config = fileOf(ADAPTER_CONFIG);
  const tensors = fileOf(ADAPTER_TENSORS);
  const modelName = form.model;
  if (typeof modelName !== "string") {
    throw new ApiError(400, "missing_required_parameter", "The form has no model: the name of the adapter's base.", {
      param: "model",
    });
  }
  return { modelName, config: await config.text(), tensors: new Uint8Array(await tensors.arrayBuffer()) };
}

/** Has both halves load it and use it once: what is ready was used. */
export async function tryOut(
  env: GatewayBindings,
  owner: string,
  { id, manifest }: GatewayModel,
  adapter: string,
  signal: AbortSignal,
): Promise<void> {
  const use = { env, model: id, adapter, owner };
  const encoded = await encode(use, [manifest.model.eosTokenId], signal);
  const options = {
    ...{ maxNewTokens: 1, stream: false, copies: 1, seed: 0, logprobs: null },
    params: parseGenerationParams({}),
  };
  for await (const _ of decode(use, [encoded], options, signal)) break;
}

function adapterJson({ name, version, model, rank, bytes, createdAt }: Adapter) {
  return {
    ...{ id: name, object: "adapter", version, model, rank, bytes },
    status: "ready",
    created_at: timeJson(createdAt),
  };
}

function adapterNotFound(name: string): ApiError {
  return new ApiError(
    404,
    "adapter_not_found",
    `There is no adapter ${JSON.stringify(name)}. GET /v1/adapters lists them.`,
  );
}
