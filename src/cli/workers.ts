/** `edge-t5 workers PACKAGE --out DIR` */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { defineCommand } from "citty";
import type { Readers } from "../local/deployment.ts";
import { PACKAGE_ROOT } from "../package-root.ts";
import { FolderStore } from "../store/folder.ts";
import { readManifest } from "../t5/manifest.ts";
import { loadLocal } from "./local.ts";
import { formatTable, printJson } from "./output.ts";
import { readersOption } from "./readers-option.ts";

export default defineCommand({
  meta: { name: "workers", description: "Write the Workers' configurations that a package needs" },
  args: {
    package: { type: "positional", required: true, description: "Package folder" },
    out: { type: "string", required: true, valueHint: "dir", description: "Folder to write wrangler's files into" },
    "one-worker": {
      type: "boolean",
      description: "Encoder and decoder in one Worker, for a model that fits one isolate",
    },
    engine: {
      type: "enum",
      options: ["simd", "onnx"],
      default: "simd",
      description: "Engine to build the Workers with: our kernels, or onnxruntime-web",
    },
    readers: readersOption,
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const { writeWorkers } = await loadLocal();
    const { workers, limits } = await writeWorkers(await readManifest(new FolderStore(args.package)), args.out, {
      root: fileURLToPath(PACKAGE_ROOT),
      engine: args.engine as "simd" | "onnx",
      oneWorker: args["one-worker"] === true,
      readers: args.readers as Readers,
    });
    if (args.json) return printJson({ workers, limits });
    console.log(
      formatTable(
        ["WORKER", "HOLDS", "MEMORY, MB"],
        workers.map(({ name, holds, bytes }) => [name, holds, bytes ? (bytes / 1e6).toFixed(1) : ""]),
      ),
    );
    console.log(
      `\nPrompts of up to ${limits.maxInputTokens} tokens, answers of up to ${limits.maxNewTokens}. Deploy them in this order:\n`,
    );
    for (const { path } of workers) console.log(`  npx wrangler deploy -c ${relative(".", path)}`);
  },
});
