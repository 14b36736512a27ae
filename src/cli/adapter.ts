/** `edge-t5 adapter put|list|delete` */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type ArgsDef, defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../t5/adapter.ts";
import { controlPlane, controlPlaneOptions, listAll } from "./control-plane.ts";
import { formatBytes, formatTable, printJson } from "./output.ts";

interface Adapter {
  id: string;
  version: string;
  model: string;
  rank: number;
  bytes: number;
  created_at: string;
}

const tenant = { type: "positional", required: true, description: "The tenant's id" } as const;
const name = { type: "positional", required: true, description: "The adapter's name" } as const;
const common = {
  ...controlPlaneOptions,
  json: { type: "boolean", description: "Print one JSON object instead of text" },
} as const satisfies ArgsDef;

export const put = defineCommand({
  meta: { name: "put", description: "Upload an adapter as PEFT saved it, in place of the one of that name" },
  args: {
    tenant,
    name,
    folder: { type: "positional", required: true, description: `Folder with ${ADAPTER_CONFIG} and ${ADAPTER_TENSORS}` },
    model: { type: "string", required: true, valueHint: "name", description: "The base that it was trained on" },
    ...common,
  },
  async run({ args }) {
    const form = new FormData();
    form.set("model", args.model);
    for (const file of [ADAPTER_CONFIG, ADAPTER_TENSORS]) {
      form.set(file, new File([await readPart(args.folder, file)], file));
    }
    const { request } = await controlPlane(args);
    const adapter = (await request("PUT", pathOf(args.tenant, args.name), form)) as Adapter;
    if (args.json) return printJson(adapter);
    const { id, version, model, rank, bytes } = adapter;
    console.log(
      `${id} of ${args.tenant} is ready: rank ${rank}, ${formatBytes(bytes)}, for ${model}, version ${version.slice(0, 16)}.`,
    );
  },
});

export const list = defineCommand({
  meta: { name: "list", description: "List a tenant's adapters" },
  args: { tenant, ...common },
  async run({ args }) {
    const data = await listAll<Adapter>(await controlPlane(args), pathOf(args.tenant));
    if (args.json) return printJson({ data });
    if (data.length === 0)
      return console.log(`${args.tenant} has no adapters. Upload one: edge-t5 adapter put --help.`);
    console.log(
      formatTable(
        ["ADAPTER", "MODEL", "RANK", "SIZE", "VERSION", "SINCE"],
        data.map(({ id, model, rank, bytes, version, created_at }) => [
          id,
          model,
          rank,
          formatBytes(bytes),
          version.slice(0, 16),
          created_at,
        ]),
      ),
    );
  },
});

export const remove = defineCommand({
  meta: { name: "delete", description: "Delete an adapter; tasks that name it are refused until there is one again" },
  args: { tenant, name, ...common },
  async run({ args }) {
    const { request } = await controlPlane(args);
    const deleted = (await request("DELETE", pathOf(args.tenant, args.name))) as object;
    if (args.json) return printJson(deleted);
    console.log(`${args.name} of ${args.tenant} is deleted.`);
  },
});

function pathOf(tenant: string, adapter?: string): string {
  const path = `/admin/tenants/${encodeURIComponent(tenant)}/adapters`;
  return adapter === undefined ? path : `${path}/${encodeURIComponent(adapter)}`;
}

async function readPart(folder: string, file: string): Promise<Buffer<ArrayBuffer>> {
  try {
    return await readFile(join(folder, file));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    throw new EdgeT5Error("E_USAGE", `${folder} has no ${file}. Name the folder that PEFT's save_pretrained wrote.`, {
      cause,
    });
  }
}
