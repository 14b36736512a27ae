/** `edge-t5 batch run|list|show|cancel` */
import { access, constants, stat, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type ArgsDef, defineCommand } from "citty";
import type { Batch } from "../api/batches.ts";
import { EdgeT5Error } from "../errors.ts";
import { listAll } from "./control-plane.ts";
import { fileId } from "./file.ts";
import { abortOnSignals, formatCount, formatTable, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";
import { type TenantClient, tenantClient, tenantOptions } from "./tenant-key.ts";

const batch = { type: "positional", required: true, description: "The batch's id" } as const;
const common = {
  ...tenantOptions,
  json: { type: "boolean", description: "Print one JSON object instead of text" },
} as const satisfies ArgsDef;

const LOOK_MS = 500;
const OVER = ["completed", "failed", "cancelled", "expired"];

export const run = defineCommand({
  meta: {
    name: "run",
    description:
      "Have a file's rows answered, and wait for it. Exit code 1: the batch failed, or every row of it did; rows that failed among others are counted, and in --errors",
  },
  args: {
    file: {
      type: "positional",
      required: true,
      description: "JSON lines, as OpenAI's batches have them; or a file's id",
    },
    out: { type: "string", valueHint: "path", description: "Write the answers there" },
    errors: { type: "string", valueHint: "path", description: "Write the rows that failed there" },
    priority: {
      type: "enum",
      options: ["low", "normal", "high"],
      default: "normal",
      description: "Among the tenant's own jobs",
    },
    wait: { type: "boolean", default: true, description: "Wait for its end", negativeDescription: "Do not wait" },
    ...common,
  },
  async run({ args }) {
    const outputs = [args.out, args.errors].filter((path) => path !== undefined);
    if (!args.wait && outputs.length > 0) {
      throw new EdgeT5Error("E_USAGE", "--out and --errors are written at the batch's end. Drop them, or --no-wait.");
    }
    // Before anything is paid for.
    if (args.out !== undefined && args.errors !== undefined && resolve(args.out) === resolve(args.errors)) {
      throw new EdgeT5Error(
        "E_USAGE",
        "--out and --errors are one file: the second would replace the first. Name two.",
      );
    }
    for (const path of outputs) await checkWritable(path);
    const client = await tenantClient(args);
    const made = (await client.request("POST", "/v1/batches", {
      input_file_id: await fileId(client, args.file, "batch"),
      endpoint: "/v1/completions",
      completion_window: "24h",
      priority: args.priority,
    })) as Batch;
    const done = args.wait ? await wait(client, made, args.json !== true) : made;
    const files = [
      [args.out, done.output_file_id],
      [args.errors, done.error_file_id],
    ] as const;
    for (const [path, id] of files) {
      if (path !== undefined) await write(client, path, id, done);
    }
    if (args.json) printJson(done);
    else console.log(textOf(done, args));
    const { completed, failed } = done.request_counts;
    if (done.status === "failed" || (failed > 0 && completed === 0)) process.exitCode = 1;
  },
});

export const list = defineCommand({
  meta: { name: "list", description: "List batches, the newest first" },
  args: { ...common },
  async run({ args }) {
    const data = await listAll<Batch>(await tenantClient(args), "/v1/batches");
    if (args.json) return printJson({ data });
    if (data.length === 0) return console.log("There are no batches. Begin one: edge-t5 batch run --help.");
    console.log(
      formatTable(
        ["BATCH", "STATUS", "ROWS", "FAILED", "SINCE"],
        data.map(({ id, status, request_counts: { completed, failed, total }, created_at }) => [
          ...[id, status, `${completed + failed} of ${total}`],
          failed,
          new Date(created_at * 1000).toISOString(),
        ]),
      ),
    );
  },
});

export const show = defineCommand({
  meta: { name: "show", description: "Show how far a batch is" },
  args: { batch, ...common },
  async run({ args }) {
    const { request } = await tenantClient(args);
    const found = (await request("GET", `/v1/batches/${encodeURIComponent(args.batch)}`)) as Batch;
    if (args.json) return printJson(found);
    console.log(textOf(found));
  },
});

export const cancel = defineCommand({
  meta: { name: "cancel", description: "Stop a batch: what was answered until then stays" },
  args: { batch, ...common },
  async run({ args }) {
    const { request } = await tenantClient(args);
    const asked = (await request("POST", `/v1/batches/${encodeURIComponent(args.batch)}/cancel`)) as Batch;
    if (args.json) return printJson(asked);
    console.log(textOf(asked));
  },
});

async function wait({ request }: TenantClient, made: Batch, isTold: boolean): Promise<Batch> {
  const interruption = abortOnSignals();
  const progress = isTold ? createProgress(process.stderr, (rows) => `${formatCount(rows)} rows`) : null;
  try {
    for (let now = made; ; now = (await request("GET", `/v1/batches/${made.id}`)) as Batch) {
      const { completed, failed, total } = now.request_counts;
      progress?.update(completed + failed, total, now.status);
      if (OVER.includes(now.status)) return now;
      await delay(LOOK_MS, undefined, { signal: interruption.signal }).catch(() => {});
      // The batch goes on without who waits for it.
      interruption.signal.throwIfAborted();
    }
  } finally {
    progress?.stop();
    interruption.dispose();
  }
}

/** @throws EdgeT5Error `E_IO` for a path that no file can be written to */
async function checkWritable(path: string): Promise<void> {
  const refuse = (why: string, cause?: unknown) =>
    new EdgeT5Error("E_IO", `${path} cannot be written: ${why}. Nothing was sent.`, { cause });
  const found = await stat(path).catch(() => null);
  if (found?.isDirectory()) throw refuse("it is a folder");
  const folder = dirname(path);
  if (!found && !(await stat(folder).catch(() => null))?.isDirectory()) throw refuse(`there is no folder ${folder}`);
  await access(found ? path : folder, constants.W_OK).catch((cause: Error) => {
    throw refuse(cause.message, cause);
  });
}

/** @throws EdgeT5Error `E_IO`, with where the batch's files are */
async function write({ open }: TenantClient, path: string, id: string | null, done: Batch): Promise<void> {
  const body = id === null ? "" : ((await open(`/v1/files/${id}/content`)).body ?? "");
  await writeFile(path, body).catch((cause: Error) => {
    throw new EdgeT5Error("E_IO", `${path} is not written: ${cause.message}. The batch is over:\n${textOf(done)}`, {
      cause,
    });
  });
}

/** @param written where its files were written, if anywhere */
function textOf(
  { id, status, request_counts, output_file_id, error_file_id, errors }: Batch,
  written: { out?: string | undefined; errors?: string | undefined } = {},
): string {
  const { completed, failed, total } = request_counts;
  const verb = OVER.includes(status) ? `has ${status}` : `is ${status.replace("_", " ")}`;
  const fileLines = (what: string, file: string | null, path: string | undefined) => {
    const kept = file === null ? `no ${what}` : `edge-t5 file get ${file}`;
    return file === null && path === undefined ? [] : [`${what}: ${path === undefined ? kept : `${path} (${kept})`}`];
  };
  return [
    `${id} ${verb}: ${formatCount(completed + failed)} of ${formatCount(total)} rows, ${formatCount(failed)} failed.`,
    ...fileLines("answers", output_file_id, written.out),
    ...fileLines("errors", error_file_id, written.errors),
    ...(errors?.data ?? []).map(({ code, message }) => `${code}: ${message}`),
  ].join("\n");
}
