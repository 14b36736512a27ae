/** `edge-t5 file put|list|get|delete` */
import { openAsBlob } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { type ArgsDef, defineCommand } from "citty";
import type * as z from "zod";
import type { fileSchema } from "../api/files.ts";
import { EdgeT5Error } from "../errors.ts";
import { listAll } from "./control-plane.ts";
import { formatBytes, formatTable, printJson } from "./output.ts";
import { type TenantClient, tenantClient, tenantOptions } from "./tenant-key.ts";

export type FileJson = z.output<typeof fileSchema>;

const file = { type: "positional", required: true, description: "The file's id" } as const;
const common = {
  ...tenantOptions,
  json: { type: "boolean", description: "Print one JSON object instead of text" },
} as const satisfies ArgsDef;

export const put = defineCommand({
  meta: { name: "put", description: "Upload a file for jobs: JSON lines" },
  args: {
    path: { type: "positional", required: true, description: "The file" },
    purpose: { type: "enum", options: ["batch", "fine-tune"], required: true, description: "What it is for" },
    ...common,
  },
  async run({ args }) {
    const made = await uploadFile(await tenantClient(args), args.path, args.purpose);
    if (args.json) return printJson(made);
    console.log(`${made.id}: ${made.filename}, ${formatBytes(made.bytes)}, for ${made.purpose}.`);
  },
});

export const list = defineCommand({
  meta: { name: "list", description: "List the files that were uploaded, and those that jobs left" },
  args: { ...common },
  async run({ args }) {
    const data = await listAll<FileJson>(await tenantClient(args), "/v1/files");
    if (args.json) return printJson({ data });
    if (data.length === 0) return console.log("There are no files. Upload one: edge-t5 file put --help.");
    console.log(
      formatTable(
        ["FILE", "NAME", "PURPOSE", "SIZE", "SINCE"],
        data.map(({ id, filename, purpose, bytes, created_at }) => [
          ...[id, filename, purpose, formatBytes(bytes)],
          new Date(created_at * 1000).toISOString(),
        ]),
      ),
    );
  },
});

export const get = defineCommand({
  meta: { name: "get", description: "Print a file, or write it" },
  args: { file, out: { type: "string", valueHint: "path", description: "Write it there" }, ...tenantOptions },
  async run({ args }) {
    const { body } = await (await tenantClient(args)).open(`/v1/files/${encodeURIComponent(args.file)}/content`);
    if (!body) return;
    if (args.out !== undefined) return writeFile(args.out, body);
    for await (const chunk of body) process.stdout.write(chunk);
  },
});

export const remove = defineCommand({
  meta: { name: "delete", description: "Delete a file; one that a job reads stays until the job is done" },
  args: { file, ...common },
  async run({ args }) {
    const { request } = await tenantClient(args);
    const deleted = (await request("DELETE", `/v1/files/${encodeURIComponent(args.file)}`)) as object;
    if (args.json) return printJson(deleted);
    console.log(`${args.file} is deleted.`);
  },
});

/** @throws EdgeT5Error `E_USAGE` for a file that is not there */
export async function uploadFile({ request }: TenantClient, path: string, purpose: string): Promise<FileJson> {
  const form = new FormData();
  form.set("purpose", purpose);
  form.set("file", await blobAt(path), basename(path));
  return (await request("POST", "/v1/files", form)) as FileJson;
}

async function blobAt(path: string): Promise<Blob> {
  const refuse = (what: string, cause?: unknown) => new EdgeT5Error("E_USAGE", `${path} ${what}.`, { cause });
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "ENOENT") throw refuse(`cannot be read: ${cause.message}`, cause);
    throw refuse("is not there: no such file", cause);
  });
  if (found.isDirectory()) throw refuse("is a folder. Name a file");
  try {
    return await openAsBlob(path);
  } catch (cause) {
    throw refuse(`cannot be read: ${(cause as Error).message}`, cause);
  }
}

/** A file's id as it is given, or of what is uploaded from that path. */
export async function fileId(client: TenantClient, idOrPath: string, purpose: string): Promise<string> {
  return /^file-[0-9a-z]{24}$/.test(idOrPath) ? idOrPath : (await uploadFile(client, idOrPath, purpose)).id;
}
