/** `edge-t5 job tune|list|show|cancel`: fine-tuning by a gateway's origin. */
import { setTimeout as delay } from "node:timers/promises";
import { type ArgsDef, defineCommand } from "citty";
import type * as z from "zod";
import type { fineTuningEventSchema, fineTuningJobSchema } from "../api/fine-tuning.ts";
import { wholeNumber } from "./arguments.ts";
import { listAll } from "./control-plane.ts";
import { fileId } from "./file.ts";
import { given } from "./limit-options.ts";
import { abortOnSignals, formatTable, printJson } from "./output.ts";
import { type TenantClient, tenantClient, tenantOptions } from "./tenant-key.ts";

type Job = z.output<typeof fineTuningJobSchema>;
type Event = z.output<typeof fineTuningEventSchema>;

const PATH = "/v1/fine_tuning/jobs";
const LOOK_MS = 1_000;
const OVER = ["succeeded", "failed", "cancelled"];

const job = { type: "positional", required: true, description: "The job's id" } as const;
const common = {
  ...tenantOptions,
  json: { type: "boolean", description: "Print one JSON object instead of text" },
} as const satisfies ArgsDef;

export const tune = defineCommand({
  meta: { name: "tune", description: "Train an adapter on rows of inputs and targets, and wait for it" },
  args: {
    file: { type: "positional", required: true, description: "JSON lines of prompt and completion; or a file's id" },
    model: { type: "string", default: "default", valueHint: "name", description: "The base" },
    validation: { type: "string", valueHint: "file", description: "Rows to measure by, or a file's id" },
    suffix: { type: "string", description: "A part of the new model's name" },
    epochs: { type: "string", valueHint: "n", description: "Times that every row is seen; default: 3" },
    "batch-size": { type: "string", valueHint: "n", description: "Rows of a step; default: 16" },
    rank: { type: "string", valueHint: "n", description: "The adapter's rank; default: 8" },
    seed: { type: "string", valueHint: "n", description: "The same seed trains the same; default: by chance" },
    wait: { type: "boolean", default: true, description: "Wait for its end", negativeDescription: "Do not wait" },
    ...common,
  },
  async run({ args }) {
    const client = await tenantClient(args);
    const number = (option: string, value: string | undefined, most: number, least = 1) =>
      value === undefined ? undefined : wholeNumber(option, value, least, most);
    const made = (await client.request("POST", PATH, {
      model: args.model,
      training_file: await fileId(client, args.file, "fine-tune"),
      ...given({
        validation_file: args.validation === undefined ? undefined : await fileId(client, args.validation, "fine-tune"),
        suffix: args.suffix,
        seed: number("--seed", args.seed, 2 ** 31 - 1, 0),
      }),
      hyperparameters: given({
        n_epochs: number("--epochs", args.epochs, 100),
        batch_size: number("--batch-size", args["batch-size"], 256),
      }),
      lora: given({ r: number("--rank", args.rank, 64) }),
    })) as Job;
    const done = args.wait ? await wait(client, made, args.json !== true) : made;
    if (args.json) printJson(done);
    else console.log(textOf(done));
    if (done.status === "failed") process.exitCode = 1;
  },
});

export const list = defineCommand({
  meta: { name: "list", description: "List fine-tuning jobs, the newest first" },
  args: { ...common },
  async run({ args }) {
    const data = await listAll<Job>(await tenantClient(args), PATH);
    if (args.json) return printJson({ data });
    if (data.length === 0) return console.log("There are no jobs. Begin one: edge-t5 job tune --help.");
    console.log(
      formatTable(
        ["JOB", "STATUS", "BASE", "MODEL", "SINCE"],
        data.map(({ id, status, model, fine_tuned_model, created_at }) => [
          ...[id, status, model, fine_tuned_model ?? ""],
          new Date(created_at * 1000).toISOString(),
        ]),
      ),
    );
  },
});

export const show = defineCommand({
  meta: { name: "show", description: "Show how far a job is, and what happened" },
  args: { job, ...common },
  async run({ args }) {
    const client = await tenantClient(args);
    const path = `${PATH}/${encodeURIComponent(args.job)}`;
    const found = (await client.request("GET", path)) as Job;
    const events = (await listAll<Event>(client, `${path}/events`)).reverse();
    if (args.json) return printJson({ ...found, events });
    for (const event of events) console.log(eventText(event));
    console.log(textOf(found));
  },
});

export const cancel = defineCommand({
  meta: { name: "cancel", description: "Stop a job" },
  args: { job, ...common },
  async run({ args }) {
    const { request } = await tenantClient(args);
    const asked = (await request("POST", `${PATH}/${encodeURIComponent(args.job)}/cancel`)) as Job;
    if (args.json) return printJson(asked);
    console.log(textOf(asked));
  },
});

/** Tells the events as they come. */
async function wait(client: TenantClient, made: Job, isTold: boolean): Promise<Job> {
  const interruption = abortOnSignals();
  const path = `${PATH}/${made.id}`;
  const told = new Set<string>();
  try {
    for (;;) {
      const now = (await client.request("GET", path)) as Job;
      const { data } = (await client.request("GET", `${path}/events?limit=100`)) as { data: Event[] };
      for (const event of data.reverse()) {
        if (told.has(event.id)) continue;
        told.add(event.id);
        if (isTold) console.log(eventText(event));
      }
      if (OVER.includes(now.status)) return now;
      await delay(LOOK_MS, undefined, { signal: interruption.signal }).catch(() => {});
      // The job goes on without who waits for it.
      interruption.signal.throwIfAborted();
    }
  } finally {
    interruption.dispose();
  }
}

function eventText({ created_at, level, message }: Event): string {
  const time = new Date(created_at * 1000).toISOString().slice(11, 19);
  return `${time}  ${level === "info" ? "" : `${level}: `}${message}`;
}

function textOf({ id, status, fine_tuned_model, error }: Job): string {
  const verb = OVER.includes(status) ? "has" : "is";
  const model = fine_tuned_model ? `: ask for the model ${fine_tuned_model}` : "";
  const why = error ? `: ${error.message} (${error.code})` : "";
  return `${id} ${verb} ${status}${model}${why}.`.replace(/\.\.$/, ".");
}
