/** `edge-t5 inspect DIR` */
import { type ArgsDef, defineCommand } from "citty";
import { type Inspection, inspectPackage } from "../../model-split/index.ts";
import { EdgeT5Error } from "../errors.ts";
import { FolderStore } from "../store/folder.ts";
import { readManifest } from "../t5/manifest.ts";
import { wholeNumber } from "./arguments.ts";
import { deploymentMemory, printMemory } from "./inspect-memory.ts";
import { formatBytes, formatCount, formatTable, printJson } from "./output.ts";

/** Enough of a hash to tell blobs apart on a screen. */
const SHORT_HASH = 12;

/** How `--memory` looks at it. */
const memoryArgs = {
  streams: { type: "string", valueHint: "n", description: "--memory: with so many streams; default 1" },
  "prompt-tokens": {
    type: "string",
    valueHint: "n",
    description: "--memory: of prompts this long; default: the longest",
  },
  "new-tokens": {
    type: "string",
    valueHint: "n",
    description: "--memory: and answers this long; default: the longest",
  },
  "one-worker": { type: "boolean", description: "--memory: encoder and decoder in one Worker" },
  engine: { type: "enum", options: ["simd", "onnx"], description: "--memory: engine of the Workers; default simd" },
} as const satisfies ArgsDef;

export default defineCommand({
  meta: { name: "inspect", description: "Show a package's shards, blobs and tensors, or the memory that it will take" },
  args: {
    dir: { type: "positional", required: true, description: "Folder that holds a package's manifest.json" },
    verify: { type: "boolean", description: "Read every blob and compare its SHA-256 with its name" },
    memory: {
      type: "boolean",
      description: "Show instead what each Worker will hold in memory, and how many streams fit",
    },
    ...memoryArgs,
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    if (args.memory) {
      if (args.verify) throw new EdgeT5Error("E_USAGE", "--memory reads the manifest only. Drop --verify.");
      const optional = (option: string, value: string | undefined) =>
        value === undefined ? undefined : wholeNumber(option, value, 1, 1e6);
      const memory = await deploymentMemory(
        await readManifest(new FolderStore(args.dir)),
        { engine: args.engine === "onnx" ? "onnx" : "simd", oneWorker: args["one-worker"] === true },
        {
          count: wholeNumber("--streams", args.streams ?? "1", 1, 1e6),
          promptTokens: optional("--prompt-tokens", args["prompt-tokens"]),
          newTokens: optional("--new-tokens", args["new-tokens"]),
        },
      );
      return args.json ? printJson(memory) : printMemory(memory);
    }
    for (const name of Object.keys(memoryArgs) as (keyof typeof memoryArgs)[]) {
      if (args[name] !== undefined)
        throw new EdgeT5Error("E_USAGE", `--${name} belongs to --memory. Add it, or drop both.`);
    }
    const inspection = await inspectPackage(new FolderStore(args.dir), { verify: args.verify === true });
    if (args.json) printJson(inspection);
    else printInspection(inspection);
    refuseBadBlobs(inspection);
  },
});

function printInspection(it: Inspection): void {
  const head = it.tiedHead ? "tied head" : "own head";
  const tokenizer = it.hasTokenizer ? "with tokenizer" : "no tokenizer";
  const short = (hash: string) => hash.slice(0, SHORT_HASH);
  console.log(
    `${it.name}: ${formatCount(it.parameters)} parameters at ${it.bits} bits, ${head}, ${tokenizer}, ${formatBytes(it.bytes)} in ${it.blobs.length} blobs`,
  );
  const shards = it.shards.map(({ role, layers, bytes, blobs }) => [
    role,
    layers[1] - layers[0] === 1 ? String(layers[0]) : `${layers[0]} to ${layers[1] - 1}`,
    bytes,
    blobs.map(short).join(" "),
  ]);
  console.log(`\n${formatTable(["SHARD", "LAYERS", "BYTES", "BLOBS"], shards)}`);
  const own = it.choices[0]?.bytes ?? 0;
  const choices = it.choices.map(({ bits, vocabSize, bytes }, i) => [
    `${bits} bits, ${formatCount(vocabSize)} pieces`,
    bytes,
    i === 0 ? "this package" : `${bytes > own ? "+" : "−"}${Math.abs(Math.round((100 * (bytes - own)) / own))} %`,
  ]);
  console.log(`\n${formatTable(["WEIGHTS AT", "BYTES", ""], choices)}`);
  const blobs = it.blobs.map(({ hash, role, bytes, state }) => [short(hash), role, bytes, state]);
  console.log(`\n${formatTable(["BLOB", "ROLE", "BYTES", "STATE"], blobs)}`);
  const tensors = it.tensors.map(({ name, dtype, shape, bytes, blob, offset }) => [
    name,
    dtype,
    shape.join(" × "),
    bytes,
    short(blob),
    offset,
  ]);
  console.log(`\n${formatTable(["TENSOR", "DTYPE", "SHAPE", "BYTES", "BLOB", "OFFSET"], tensors)}`);
  if (it.unreferenced && it.unreferenced.blobs > 0) {
    const { blobs: count, bytes } = it.unreferenced;
    const blobsLeft = count === 1 ? "1 blob" : `${count} blobs`;
    console.log(`\nNo manifest names ${blobsLeft} (${formatBytes(bytes)}): left by earlier packages.`);
  }
}

/** @throws EdgeT5Error `E_BLOB_MISSING` or `E_BLOB_CORRUPT`, naming the blobs */
function refuseBadBlobs({ blobs, location }: Inspection): void {
  const listed = (state: string) =>
    blobs.filter((blob) => blob.state === state).map((blob) => `${blob.role} ${blob.hash}`);
  const missing = listed("missing");
  const corrupt = listed("corrupt");
  if (missing.length + corrupt.length === 0) return;
  const found = [
    missing.length > 0 ? `missing: ${missing.join(", ")}` : "",
    corrupt.length > 0 ? `corrupt: ${corrupt.join(", ")}` : "",
  ].filter(Boolean);
  throw new EdgeT5Error(
    missing.length > 0 ? "E_BLOB_MISSING" : "E_BLOB_CORRUPT",
    `${location}: blobs ${found.join("; ")}. Re-run edge-t5 split into this folder, or copy them again.`,
  );
}
