/** `edge-t5 split CHECKPOINT --out DIR`: from a directory, or from the hub */
import { defineCommand } from "citty";
import { type Bits, type SplitResult, splitCheckpoint } from "../../model-split/index.ts";
import { decimal } from "./arguments.ts";
import { localCheckpoint } from "./checkpoint.ts";
import { abortOnSignals, formatBytes, formatCount, formatTable, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";

export default defineCommand({
  meta: { name: "split", description: "Quantize a Hugging Face T5 checkpoint and split it into a package of shards" },
  args: {
    checkpoint: {
      type: "positional",
      required: true,
      description:
        "Directory with config.json and model.safetensors (or an index with parts), or a repository of the hub: OWNER/NAME or OWNER/NAME@REVISION",
    },
    out: { type: "string", required: true, valueHint: "dir", description: "Folder to write the package into" },
    bits: {
      type: "enum",
      options: ["4", "8", "32"],
      default: "8",
      description: "4: int4 in groups of 32; 8: int8, a scale a row; 32: float32 as it is",
    },
    "trim-vocab": {
      type: "string",
      valueHint: "corpus",
      description:
        "Keep only the pieces that this text uses: .txt, .tsv or .jsonl, also .gz; with prefixes and answers",
    },
    "shard-mb": {
      type: "string",
      valueHint: "n",
      description: "Most megabytes of a shard: larger stacks are cut into layers for a chain of Workers; default 84",
    },
    name: { type: "string", description: "Name of the model; default: the directory's or repository's" },
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const interruption = abortOnSignals();
    const progress = args.json ? null : createProgress();
    let result: SplitResult;
    try {
      const checkpoint = await localCheckpoint(args.checkpoint, Boolean(args.json), interruption.signal);
      const name = args.name ?? checkpoint.name;
      result = await splitCheckpoint(checkpoint.dir, args.out, {
        bits: Number(args.bits) as Bits,
        ...(args["shard-mb"] === undefined
          ? {}
          : { shardBytes: decimal("--shard-mb", args["shard-mb"], 0.001, 1e6) * 1e6 }),
        ...(name === undefined ? {} : { name }),
        ...(args["trim-vocab"] === undefined ? {} : { trimVocab: args["trim-vocab"] }),
        onProgress: ({ tensor, bytesDone, bytesTotal }) => progress?.update(bytesDone, bytesTotal, tensor),
        signal: interruption.signal,
      });
    } finally {
      progress?.stop();
      interruption.dispose();
    }
    if (args.json) printJson(summaryOf(result));
    else printResult(result);
  },
});

function summaryOf({ out, manifest, parameters, sourceBytes, packageBytes, warnings }: SplitResult) {
  return {
    out,
    name: manifest.name,
    bits: manifest.quantization.bits,
    tiedHead: manifest.tiedHead,
    parameters,
    tensors: Object.keys(manifest.tensors).length,
    shards: manifest.shards.map(({ role, layers, blobs }) => ({
      role,
      layers,
      bytes: blobs.reduce((sum, hash) => sum + (manifest.blobs[hash]?.bytes ?? 0), 0),
    })),
    sourceBytes,
    packageBytes,
    blobs: Object.entries(manifest.blobs).map(([hash, { role, bytes }]) => ({ hash, role, bytes })),
    warnings,
  };
}

function printResult(result: SplitResult): void {
  const { out, name, bits, parameters, sourceBytes, packageBytes, blobs, warnings } = summaryOf(result);
  for (const warning of warnings) console.error(`warning: ${warning}`);
  console.log(
    formatTable(
      ["BLOB", "ROLE", "BYTES"],
      blobs.map(({ hash, role, bytes }) => [hash, role, bytes]),
    ),
  );
  console.log(
    `\n${name}: ${formatCount(parameters)} parameters at ${bits} bits, ${formatBytes(sourceBytes)} of weights became ${formatBytes(packageBytes)} in ${out}`,
  );
}
