/** The first run: a tenant with tasks of the packaged model, a price, and a key that is kept with the local state. */
import { SCOPES } from "../tenancy/caller.ts";
import type { TaskDefinition } from "../tenancy/task-definition.ts";
import { readDemoKey, writeDemoKey } from "./secrets.ts";

export const DEMO_TENANT = "demo";

/** Debian's sections, as far as the packaged model answers with them. */
const SECTIONS = [
  ...["admin", "cli-mono", "comm", "database", "devel", "doc", "editors", "embedded", "fonts", "games", "gnome"],
  ...["gnu-r", "golang", "graphics", "hamradio", "haskell", "interpreters", "introspection", "java", "javascript"],
  ...["kde", "libdevel", "libs", "lisp", "mail", "math", "net", "ocaml", "perl", "python", "ruby", "rust", "science"],
  ...["sound", "tex", "utils", "web", "x11"],
];

export interface DemoTask {
  name: string;
  template: string;
  labels?: readonly string[];
  /** How a text is taken that is longer than the model takes. */
  long: TaskDefinition["long"];
  /** An input that the packaged model answers well. */
  example: string;
}

/** What the packaged model was trained for. */
export const DEMO_TASKS: readonly DemoTask[] = [
  {
    name: "translate-de",
    template: "translate English to German: {input}",
    long: "sentences",
    example: "The house is old.",
  },
  {
    name: "translate-fr",
    template: "translate English to French: {input}",
    long: "sentences",
    example: "Where is my book?",
  },
  {
    name: "summarize",
    template: "summarize: {input}",
    long: "sections",
    example:
      "This package provides a command line tool to convert images between formats. It supports PNG, JPEG and TIFF.",
  },
  {
    name: "classify-package",
    template: "classify package: {input}",
    labels: SECTIONS,
    long: "windows",
    example: "A chess game for two players.",
  },
];

/** What a request to the control plane needs. */
export type Request = (method: string, path: string, body?: unknown) => Promise<unknown>;

/** More than a person will use by hand; seen in the answers' headers all the same. */
const LIMITS = {
  limits: { concurrency: 32, soft_budget: "5", hard_budget: "10" },
  key_limits: { requests_per_minute: 600, tokens_per_minute: 200_000 },
};

/** $0.10 for a million input tokens, $0.40 for a million output tokens, a cent for an adapter and day. */
const PRICE = { input_per_1k: "0.0001", output_per_1k: "0.0004", adapter_day: "0.01" };

export interface Demo {
  tenant: string;
  key: string;
  /** Made, or there already. */
  tasks: readonly DemoTask[];
  /** Names of all that the tenant has of the served model. */
  names: readonly string[];
}

/**
 * Makes of the demo what is not there; what is there stays as it is.
 *
 * @param state the folder of local state
 * @param model the served model's name; @param tasks to define with it, if any
 */
export async function ensureDemo(
  request: Request,
  url: string,
  state: string,
  model: string,
  tasks: readonly DemoTask[],
): Promise<Demo> {
  await ensureTenant(request, DEMO_TENANT, "Demo", LIMITS);
  const [key, names] = await Promise.all([
    ensureKey(request, url, state),
    ensureTasks(request, DEMO_TENANT, model, tasks),
    ensurePrice(request),
  ]);
  return { tenant: DEMO_TENANT, key, tasks, names };
}

export async function ensureTenant(request: Request, id: string, name: string, limits: object): Promise<void> {
  await request("POST", "/admin/tenants", { id, name, ...limits }).catch((error: { httpStatus?: number }) => {
    if (error.httpStatus !== 409) throw error;
  });
}

/** A price for everything, where nothing has one. */
export async function ensurePrice(request: Request): Promise<void> {
  const { data } = (await request("GET", "/admin/prices?limit=1")) as { data: object[] };
  if (data.length === 0) await request("POST", "/admin/prices", PRICE);
}

/** @returns the names of the model's tasks that the tenant has then, of a hundred that it had at most */
export async function ensureTasks(
  request: Request,
  tenant: string,
  model: string,
  tasks: readonly DemoTask[],
): Promise<string[]> {
  const path = `/admin/tenants/${tenant}/tasks`;
  const { data } = (await request("GET", `${path}?limit=100`)) as {
    data: { id: string; definition: { model: string } }[];
  };
  const there = new Set(data.map(({ id }) => id));
  const missing = tasks.filter(({ name }) => !there.has(name));
  for (const task of missing) await request("PUT", `${path}/${task.name}`, definitionOfDemo(task, model));
  const own = data.filter(({ definition }) => definition.model === model).map(({ id }) => id);
  return [...own, ...missing.map(({ name }) => name)].sort();
}

/** As `PUT /v1/tasks/{name}` takes it. They take documents: texts, and files that have some. */
export function definitionOfDemo({ template, labels, long }: DemoTask, model: string) {
  const overridable = labels ? [] : OVERRIDABLE;
  return { model, template, input: "document", labels: labels ?? null, long, overridable };
}

const OVERRIDABLE = ["max_tokens", "temperature", "top_p", "seed", "n", "num_beams", "stop"];

/** The one that is kept, as long as the gateway takes it. */
async function ensureKey(request: Request, url: string, state: string): Promise<string> {
  const kept = await readDemoKey(state);
  if (kept !== null && (await isTaken(url, kept))) return kept;
  const body = { name: "first run", scopes: SCOPES, allowed_origins: ["*"] };
  const { key } = (await request("POST", `/admin/tenants/${DEMO_TENANT}/keys`, body)) as { key: string };
  await writeDemoKey(state, key);
  return key;
}

async function isTaken(url: string, key: string): Promise<boolean> {
  const response = await fetch(`${url}/v1/tasks?limit=1`, { headers: { authorization: `Bearer ${key}` } });
  await response.body?.cancel();
  return response.ok;
}
