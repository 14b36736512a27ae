/** The API as the page uses it: the key's tasks, and one run of a task as events, streamed or not. */
import type { TaskUsage } from "../../src/api/task-run.ts";
import { bodyOf, type Call, formFields, urlOf } from "./call.ts";
import { eventData } from "./events.ts";

/** Of `GET /v1/tasks`, as far as the page shows it. */
export interface Task {
  id: string;
  version: number;
  fields: readonly string[];
  definition: {
    model: string;
    template: string;
    labels: readonly string[] | null;
    overridable: readonly string[];
    adapter: string | null;
    /** `text`, `pair`, or what is read first: `table`, `document`, `image`. */
    input: string;
    /** How an input is taken that is longer than the model takes. */
    long?: string;
  };
}

export interface Score {
  label: string;
  score: number;
}

/** Of a run, where a text is cut by the most tokens that it may have: where it is, what it says, what it took. */
export type RunEvent =
  | { kind: "begun"; servedBy: string | null; modelVersion: string | null; requestId: string | null }
  | { kind: "text"; index: number; text: string; isCut: boolean }
  | { kind: "label"; label: string; scores: readonly Score[] }
  | { kind: "noted"; notes: readonly string[] }
  | { kind: "progress"; done: number; of: number }
  | { kind: "explained"; inputs: readonly string[]; total: number }
  | { kind: "used"; usage: Usage };

/** With its price in dollars, a decimal number, where the deployment tells it. */
export type Usage = Omit<TaskUsage, "cost"> & { cost?: string };

/** An error of the API, or of the way to it. */
export class CallError extends Error {
  readonly code: string;
  readonly requestId: string | null;

  constructor(message: string, code: string, requestId: string | null, options?: ErrorOptions) {
    super(message, options);
    this.name = "CallError";
    this.code = code;
    this.requestId = requestId;
  }
}

const PAGE = 100;

/** All tasks of the key's tenant. @throws CallError */
export async function listTasks(origin: string, key: string, signal: AbortSignal): Promise<Task[]> {
  const tasks: Task[] = [];
  for (let after: string | null = null; ; ) {
    const url = new URL(`/v1/tasks?limit=${PAGE}`, origin);
    if (after !== null) url.searchParams.set("after", after);
    const response = await request(url, key, { signal });
    const { data, has_more, last_id } = (await response.json()) as {
      data: Task[];
      has_more: boolean;
      last_id: string | null;
    };
    tasks.push(...data);
    if (!has_more || last_id === null) return tasks;
    after = last_id;
  }
}

/** Runs a task; leaving the loop, or the signal, ends it there too. @throws CallError */
export async function* runTask(
  call: Call,
  key: string,
  signal: AbortSignal,
): AsyncGenerator<RunEvent, void, undefined> {
  const response = await request(urlOf(call), key, { method: "POST", signal, ...contentOf(call) });
  const { headers } = response;
  const requestId = headers.get("x-request-id");
  const servedBy = headers.get("x-edge-t5-served-by");
  yield { kind: "begun", servedBy, modelVersion: headers.get("x-model-version"), requestId };
  if (!headers.get("content-type")?.startsWith("text/event-stream") || !response.body) {
    return yield* toldIn(await response.json(), requestId);
  }
  try {
    for await (const data of eventData(response.body)) {
      if (data === "[DONE]") return;
      yield* toldIn(JSON.parse(data), requestId);
    }
  } catch (error) {
    if (signal.aborted || error instanceof CallError) throw error;
    throw cutOff(requestId, error);
  }
  throw cutOff(requestId);
}

function cutOff(requestId: string | null, cause?: unknown): CallError {
  return new CallError("The answer was cut off: the connection ended before it did.", "cut_off", requestId, { cause });
}

function contentOf(call: Call): RequestInit {
  const { file } = call;
  if (!file) return { headers: { "content-type": "application/json" }, body: JSON.stringify(bodyOf(call)) };
  const form = new FormData();
  form.append("file", file.content, file.name);
  for (const [name, value] of formFields(call)) form.append(name, value);
  return { body: form };
}

/** What is in an event of a stream, or in an answer that comes whole. */
interface Told {
  index?: number;
  text?: string;
  output?: string;
  outputs?: readonly string[];
  label?: string;
  scores?: readonly Score[];
  finish_reason?: string | null;
  notes?: readonly string[];
  explain?: { inputs: readonly string[]; total: number };
  usage?: Usage;
  done?: number;
  of?: number;
  error?: { message: string; code: string };
}

function* toldIn(told: Told, requestId: string | null): Generator<RunEvent, void, undefined> {
  const {
    index = 0,
    text,
    output,
    outputs,
    label,
    scores = [],
    finish_reason,
    notes,
    explain,
    usage,
    done,
    of,
    error,
  } = told;
  const isCut = finish_reason === "length";
  if (error) throw new CallError(error.message, error.code, requestId);
  if (done !== undefined && of !== undefined) yield { kind: "progress", done, of };
  if (notes) yield { kind: "noted", notes };
  if (explain) yield { kind: "explained", ...explain };
  if (label !== undefined) yield { kind: "label", label, scores };
  else if (outputs) for (const [i, text] of outputs.entries()) yield { kind: "text", index: i, text, isCut };
  else if (output !== undefined) yield { kind: "text", index, text: output, isCut };
  else if (text !== undefined) yield { kind: "text", index, text, isCut };
  if (usage) yield { kind: "used", usage };
}

async function request(url: URL | string, key: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    // A key that no header can hold is none of ours.
    const headers = { ...init.headers, authorization: `Bearer ${encodeURI(key)}` };
    response = await fetch(url, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new CallError("No answer came. Is the server running, and this device online?", "unreachable", null, {
      cause: error,
    });
  }
  if (response.ok) return response;
  const requestId = response.headers.get("x-request-id");
  const { error } = (await response.json().catch(() => ({}))) as Told;
  const { message, code } = error ?? { message: response.statusText || "It failed.", code: String(response.status) };
  throw new CallError(message, code, requestId);
}
