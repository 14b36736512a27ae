/** The commands of `edge-t5`: what each is for, how it is called, and where it lives. Loaded only when called. */
import type { CommandDef } from "citty";

export interface CommandEntry {
  summary: string;
  examples: readonly string[];
  load: () => Promise<CommandDef>;
}

/** Each command declares its own arguments' types; here they are all just commands. */
const load = (module: () => Promise<{ default: unknown }>) => async () => (await module()).default as CommandDef;

export const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  split: {
    summary: "Quantize a Hugging Face T5 checkpoint and split it into a package of shards",
    examples: [
      "edge-t5 split ./t5-small --out ./packages/t5-small",
      "edge-t5 split google/flan-t5-small --out ./packages/flan-t5-small",
      "edge-t5 split ./t5-small --out ./packages/t5-small-f32 --bits 32",
      "edge-t5 split ./my-t5 --out ./packages/my-t5 --name support-replies --json",
      "edge-t5 split ./my-t5 --out ./packages/my-t5-tiny --bits 4 --trim-vocab corpus.tsv",
      "edge-t5 split ./t5-base --out ./packages/t5-base --shard-mb 60",
    ],
    load: load(() => import("./split.ts")),
  },
  inspect: {
    summary: "Show a package's shards, blobs and tensors, or the memory that it will take",
    examples: [
      "edge-t5 inspect ./packages/t5-small",
      "edge-t5 inspect ./packages/t5-small --verify --json",
      "edge-t5 inspect ./packages/t5-small --memory --streams 16 --prompt-tokens 128 --new-tokens 64 --one-worker",
    ],
    load: load(() => import("./inspect.ts")),
  },
  export: {
    summary: "Write a package's model in the layout of another library: transformers.js",
    examples: [
      "edge-t5 export ./packages/my-t5 --to transformers.js --out ./models/my-t5",
      "edge-t5 export ./packages/my-t5 --to transformers.js --out ./models/my-t5 --activations matrix --json",
    ],
    load: load(() => import("./export.ts")),
  },
  generate: {
    summary: "Answer a prompt in the terminal, without a server",
    examples: [
      'edge-t5 generate "translate English to German: The house is old."',
      'edge-t5 generate "summarize: ..." --beams 4 --json',
      "edge-t5 generate - --temperature 0.8 --seed 7 < prompt.txt",
      'edge-t5 generate "classify package: a library for sockets" --labels libs,net,games',
    ],
    load: load(() => import("./generate.ts")),
  },
  start: {
    summary: "Serve a package on this machine: the gateway and the Workers that hold the model",
    examples: [
      "edge-t5 start",
      "PORT=9000 edge-t5 start",
      "edge-t5 start --model ./packages/t5-base",
      "edge-t5 start --one-worker",
    ],
    load: load(() => import("./start.ts")),
  },
  workers: {
    summary: "Write the Workers' configurations that a package needs: a chain where it is cut into shards",
    examples: [
      "edge-t5 workers ./packages/t5-base --out ./deploy",
      "edge-t5 workers ./packages/t5-tiny --out ./deploy --one-worker --json",
    ],
    load: load(() => import("./workers.ts")),
  },
  deploy: {
    summary: "Make what is missing in a Cloudflare account, deploy the Workers, push the package",
    examples: [
      "edge-t5 deploy --dry-run",
      "edge-t5 deploy",
      "edge-t5 deploy ./packages/my-t5 --name my-t5 --requests 5e6 --json",
      "edge-t5 deploy ./packages/my-t5 --one-worker --url https://t5.example.org",
    ],
    load: load(() => import("./deploy.ts")),
  },
  push: {
    summary: "Upload a package as a version of a model, and have requests get it",
    examples: [
      "edge-t5 push ./packages/my-t5 --name support",
      "edge-t5 push ./packages/my-t5 --name support --url https://edge-t5.example.workers.dev --admin-token $TOKEN",
      "edge-t5 push ./packages/my-t5 --name support --no-publish --json",
    ],
    load: load(() => import("./push.ts")),
  },
  rollback: {
    summary: "Have requests get the version of a model that was current before",
    examples: ["edge-t5 rollback support", "edge-t5 rollback support --to 0123456789abcdef --json"],
    load: load(() => import("./rollback.ts")),
  },
  models: {
    summary: "List a gateway's models and their versions, or delete a version",
    examples: ["edge-t5 models", "edge-t5 models --json", "edge-t5 models --delete support@0123456789abcdef"],
    load: load(() => import("./models.ts")),
  },
  eval: {
    summary: "Measure a package's answers against references",
    examples: [
      "edge-t5 eval ./packages/my-t5 --data test.tsv --prefix 'translate English to German: ' --metric bleu,chrf",
      "edge-t5 eval ./packages/my-t5 --data test.jsonl --metric accuracy --labels positive,negative --json",
    ],
    load: load(() => import("./eval.ts")),
  },
  golden: {
    summary: "Compare with Hugging Face's outputs on every model folder in a directory",
    examples: ["edge-t5 golden ./test/golden", "edge-t5 golden ./test/golden --bits 8 --json"],
    load: load(() => import("./golden.ts")),
  },
};
