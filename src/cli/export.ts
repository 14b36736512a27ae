/** `edge-t5 export PACKAGE --to transformers.js --out DIR` */
import { defineCommand } from "citty";
import { type ExportResult, exportForTransformersJs } from "../../model-split/index.ts";
import { FolderStore } from "../store/folder.ts";
import { HttpStore } from "../store/http.ts";
import { abortOnSignals, formatBytes, formatTable, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";

export default defineCommand({
  meta: { name: "export", description: "Write a package's model in the layout of another library" },
  args: {
    package: { type: "positional", required: true, description: "Package folder, or http(s) address" },
    to: { type: "enum", options: ["transformers.js"], required: true, description: "Library that is to load it" },
    out: { type: "string", required: true, valueHint: "dir", description: "Folder to write the model into" },
    activations: {
      type: "enum",
      options: ["row", "matrix"],
      description:
        "Of an int8 package. row (default): two digits and a scale a row, as edge-t5's engines compute. matrix: one digit and a scale for all rows, as onnxruntime's own quantization: faster, less exact",
    },
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const interruption = abortOnSignals();
    const progress = args.json ? null : createProgress();
    let result: ExportResult;
    try {
      const isAddress = /^https?:\/\//.test(args.package);
      const store = isAddress ? new HttpStore(args.package) : new FolderStore(args.package);
      result = await exportForTransformersJs(store, args.out, {
        ...(args.activations && { activations: args.activations as "row" | "matrix" }),
        onProgress: ({ file, bytesDone, bytesTotal }) => progress?.update(bytesDone, bytesTotal, file),
        signal: interruption.signal,
      });
    } finally {
      progress?.stop();
      interruption.dispose();
    }
    if (args.json) printJson(result);
    else printResult(result);
  },
});

function printResult({ out, name, dtype, files, warnings }: ExportResult): void {
  for (const warning of warnings) console.error(`warning: ${warning}`);
  console.log(
    formatTable(
      ["FILE", "BYTES"],
      files.map(({ path, bytes }) => [path, bytes]),
    ),
  );
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  console.log(`\n${name}: ${formatBytes(bytes)} in ${out}, as ${dtype} for @huggingface/transformers 3.8 and later`);
}
