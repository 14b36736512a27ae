/** `edge-t5 models` */
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { controlPlane, controlPlaneOptions } from "./control-plane.ts";
import { formatBytes, formatTable, printJson } from "./output.ts";

interface Model {
  name: string;
  version: string | null;
  bytes: number;
  versions: { version: string; created: string; bytes: number; is_current: boolean }[];
}

export default defineCommand({
  meta: { name: "models", description: "List a gateway's models and their versions, or delete a version" },
  args: {
    delete: {
      type: "string",
      valueHint: "name@version",
      description: "Delete a version that is not current, and blobs that no version names any more",
    },
    ...controlPlaneOptions,
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const gateway = await controlPlane(args);
    if (args.delete !== undefined) {
      const [name = "", version = "", ...rest] = args.delete.split("@");
      if (!name || !version || rest.length > 0) {
        throw new EdgeT5Error("E_USAGE", `--delete is ${JSON.stringify(args.delete)}. Write NAME@VERSION.`);
      }
      const path = `/admin/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}`;
      const deleted = (await gateway.request("DELETE", path)) as { blobs_deleted: number; bytes: number };
      if (args.json) return printJson(deleted);
      const { blobs_deleted, bytes } = deleted;
      return console.log(`${args.delete} is deleted, and ${blobs_deleted} blobs with it (${formatBytes(bytes)}).`);
    }
    const { data } = (await gateway.request("GET", "/admin/models")) as { data: Model[] };
    if (args.json) return printJson({ data });
    if (data.length === 0) return console.log(`${gateway.url} has no models. Push one: edge-t5 push PACKAGE.`);
    const rows = data.flatMap(({ name, versions }) =>
      versions.map(({ version, created, bytes, is_current }) => [
        name,
        version,
        is_current ? "current" : "",
        created.slice(0, 19).replace("T", " "),
        formatBytes(bytes),
      ]),
    );
    console.log(formatTable(["MODEL", "VERSION", "", "UPLOADED, UTC", "SIZE"], rows));
  },
});
