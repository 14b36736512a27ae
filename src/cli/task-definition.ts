/** `--task`: a definition, from wherever it is. */
import { readFile, stat } from "node:fs/promises";
import { EdgeT5Error } from "../errors.ts";
import { DEMO_TASKS, definitionOfDemo } from "../local/demo.ts";
import { type TaskDefinition, taskDefinitionSchema } from "../tenancy/task-definition.ts";
import { controlPlane } from "./control-plane.ts";

/** Where a gateway is, for a task that is there. */
export interface TaskPlace {
  url?: string | undefined;
  "admin-token"?: string | undefined;
}

/**
 * A task's definition: one of the packaged model's, by its name; of a file; or of a gateway's tenant.
 *
 * @throws EdgeT5Error `E_USAGE` for what is none of these, or no definition; as `ControlPlane.request`
 */
export async function taskDefinitionOf(task: string, place: TaskPlace = {}): Promise<TaskDefinition> {
  const [tenant, name, more] = task.split("/");
  const packaged = DEMO_TASKS.find((each) => each.name === task);
  const isFile = (await stat(task).catch(() => null))?.isFile() === true;
  let json: unknown;
  if (isFile) json = parse(await readFile(task, "utf8"), task);
  else if (packaged) json = definitionOfDemo(packaged, "default");
  else if (tenant && name && more === undefined) {
    const { request } = await controlPlane(place);
    const path = `/admin/tenants/${encodeURIComponent(tenant)}/tasks/${encodeURIComponent(name)}`;
    json = ((await request("GET", path)) as { definition: unknown }).definition;
  } else {
    const names = DEMO_TASKS.map((each) => each.name).join(", ");
    throw new EdgeT5Error(
      "E_USAGE",
      `--task is ${task}: no such file, no TENANT/NAME, and none of the packaged model's tasks (${names}).`,
    );
  }
  const parsed = taskDefinitionSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new EdgeT5Error("E_USAGE", `--task ${task}: ${issue?.path.join(".")}: ${issue?.message}. Change it.`);
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new EdgeT5Error("E_USAGE", `--task ${path} is no JSON (${(cause as Error).message}). Mend it.`, { cause });
  }
}
