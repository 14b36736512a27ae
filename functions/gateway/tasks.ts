/** A tenant's tasks: the same routes below `/v1/tasks` for the tenant, and below `/admin/tenants/:tenant/tasks`. */
import { type Context, Hono } from "hono";
import {
  deletedTaskJson,
  listJson,
  parsePage,
  parseVersion,
  parseVersionMatch,
  taskJson,
  taskVersionsJson,
} from "../../src/api/control-plane.ts";
import { ApiError } from "../../src/api-error.ts";
import { readAdapterRow } from "../../src/tenancy/adapters.ts";
import { type Caller, mayUse } from "../../src/tenancy/caller.ts";
import { taskDefinitionSchema } from "../../src/tenancy/task-definition.ts";
import {
  deleteTask,
  findTask,
  listTasks,
  listTaskVersions,
  putTask,
  type TaskChecks,
} from "../../src/tenancy/tasks.ts";
import type { GatewayBindings, GatewayEnv } from "./bindings.ts";
import { readBody } from "./body.ts";
import { modelExists } from "./models.ts";

type Owner = Pick<Caller, "tenant" | "models">;

export function taskRoutes(ownerOf: (c: Context<GatewayEnv>) => Owner | Promise<Owner>) {
  const routes = new Hono<GatewayEnv>();

  routes.get("/", async (c) => {
    const { tenant } = await ownerOf(c);
    return c.json(listJson(await listTasks(c.env.DB, tenant, parsePage(c.req.query())), taskJson));
  });

  routes.get("/:name", async (c) => {
    const { tenant } = await ownerOf(c);
    const name = c.req.param("name");
    const task = await findTask(c.env.DB, tenant, name, parseVersion(c.req.query("version")));
    if (!task) throw taskNotFound(name);
    return c.json(taskJson(task), 200, { etag: `"${task.version}"` });
  });

  routes.get("/:name/versions", async (c) => {
    const { tenant } = await ownerOf(c);
    const name = c.req.param("name");
    const versions = await listTaskVersions(c.env.DB, tenant, name);
    if (versions.length === 0) throw taskNotFound(name);
    return c.json(taskVersionsJson(versions));
  });

  routes.put("/:name", async (c) => {
    const owner = await ownerOf(c);
    const ifMatch = parseVersionMatch(c.req.header("if-match"));
    const definition = await readBody(c.req.raw, taskDefinitionSchema, "a task");
    const write = { ifMatch, now: Date.now() };
    const name = c.req.param("name");
    const { task, isNew } = await putTask(c.env.DB, owner.tenant, name, definition, checksOf(c.env, owner), write);
    return c.json(taskJson(task), isNew && task.version === 1 ? 201 : 200, { etag: `"${task.version}"` });
  });

  routes.delete("/:name", async (c) => {
    const { tenant } = await ownerOf(c);
    const name = c.req.param("name");
    const write = { ifMatch: parseVersionMatch(c.req.header("if-match")), now: Date.now() };
    const version = await deleteTask(c.env.DB, tenant, name, write);
    if (version === null) throw taskNotFound(name);
    return c.json(deletedTaskJson(name, version));
  });

  return routes;
}

export function taskNotFound(name: string): ApiError {
  return new ApiError(404, "task_not_found", `There is no task ${JSON.stringify(name)}. GET /v1/tasks lists them.`);
}

function checksOf({ SHARDS: bucket, DB: db }: GatewayBindings, owner: Owner): TaskChecks {
  return {
    modelExists: async (model) => mayUse(owner, model) && (await modelExists(bucket, model)),
    adapterBase: async (tenant, adapter) => (await readAdapterRow(db, tenant, adapter))?.model ?? null,
  };
}
