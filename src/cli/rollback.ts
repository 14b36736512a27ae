/** `edge-t5 rollback NAME` */
import { defineCommand } from "citty";
import { controlPlane, controlPlaneOptions } from "./control-plane.ts";
import { printJson } from "./output.ts";

export default defineCommand({
  meta: { name: "rollback", description: "Have requests get the version of a model that was current before" },
  args: {
    name: { type: "positional", required: true, description: "The model's name" },
    to: { type: "string", valueHint: "version", description: "A version of edge-t5 models; default: the one before" },
    ...controlPlaneOptions,
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const gateway = await controlPlane(args);
    const path = `/admin/models/${encodeURIComponent(args.name)}/rollback`;
    const moved = (await gateway.request("POST", path, args.to === undefined ? {} : { version: args.to })) as {
      version: string;
    };
    if (args.json) return printJson(moved);
    console.log(`Requests for ${args.name} get version ${moved.version}, all of them within ten seconds.`);
  },
});
