/** `edge-t5 origin` */
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineCommand } from "citty";
import { startOrigin } from "../../functions/origin/index.ts";
import { EdgeT5Error } from "../errors.ts";
import type { OriginEvent } from "../jobs/origin/origin.ts";
import { readLocalSecrets } from "../local/secrets.ts";
import { PACKAGE_ROOT } from "../package-root.ts";
import type { S3Options } from "../store/s3.ts";
import type { EngineLimits } from "../t5/engine.ts";
import { decimal, wholeNumber } from "./arguments.ts";
import { DEFAULT_ORIGIN_PORT } from "./origin-options.ts";
import { abortOnSignals, printJson } from "./output.ts";

export default defineCommand({
  meta: {
    name: "origin",
    description: "Do a gateway's jobs on this machine, and answer what is too heavy for its edge",
  },
  args: {
    gateway: {
      type: "string",
      valueHint: "url",
      description: "The gateway's address; default: $EDGE_T5_URL, or http://127.0.0.1:8787",
    },
    secret: {
      type: "string",
      valueHint: "secret",
      description: "The gateway's ORIGIN_SECRET; default: $ORIGIN_SECRET, or that of the kit on this machine",
    },
    port: { type: "string", description: `Port to be told of jobs on; default: ${DEFAULT_ORIGIN_PORT}; 0 for any` },
    host: { type: "string", default: "127.0.0.1", description: "Address to listen on; 0.0.0.0 for all" },
    lease: {
      type: "string",
      default: "30",
      valueHint: "seconds",
      description: "How long a job stays this origin's without a word from it",
    },
    poll: {
      type: "string",
      default: "10",
      valueHint: "seconds",
      description: "Ask for jobs this often, also when nobody tells of one",
    },
    engine: {
      type: "enum",
      options: ["simd", "onnx"],
      default: "simd",
      description: "Engine to answer requests with: our kernels, or onnxruntime-node (adapters: always our kernels)",
    },
    cache: {
      type: "string",
      valueHint: "dir",
      description: "Folder to keep models in; default: edge-t5/models in the user's cache",
    },
    "cache-gb": {
      type: "string",
      default: "20",
      valueHint: "n",
      description: "Most that the folder may hold; models that were used longest ago make room",
    },
    json: { type: "boolean", description: "Print one JSON object a line" },
  },
  async run({ args }) {
    const gateway = args.gateway ?? (process.env.EDGE_T5_URL || "http://127.0.0.1:8787");
    if (!URL.canParse(gateway)) {
      throw new EdgeT5Error("E_USAGE", `--gateway is ${JSON.stringify(gateway)}, no address.`);
    }
    const port = wholeNumber("--port", args.port ?? String(DEFAULT_ORIGIN_PORT), 0, 65535);
    const leaseSeconds = wholeNumber("--lease", args.lease, 1, 300);
    const pollMs = wholeNumber("--poll", args.poll, 1, 3600) * 1000;
    const cacheBytes = decimal("--cache-gb", args["cache-gb"], 0.001, 1e6) * 1e9;
    const secret = args.secret ?? (process.env.ORIGIN_SECRET || (await localSecret(gateway)));
    const interruption = abortOnSignals();
    try {
      const log = (event: OriginEvent) => (args.json ? printJson(event) : console.log(textOf(event)));
      const s3 = s3Options();
      const { host } = args;
      const { XDG_CACHE_HOME } = process.env;
      const cache = args.cache ?? join(XDG_CACHE_HOME || join(homedir(), ".cache"), "edge-t5", "models");
      const engine = args.engine as "simd" | "onnx";
      const limits = servingLimits();
      const settings = {
        gateway,
        secret,
        host,
        port,
        s3,
        engine,
        limits,
        cache,
        cacheBytes,
        leaseSeconds,
        pollMs,
        log,
      };
      const origin = await startOrigin(settings).catch((cause: NodeJS.ErrnoException) => {
        if (cause.code !== "EADDRINUSE") throw cause;
        throw new EdgeT5Error("E_IO", `Port ${port} on ${host} is in use. Choose another: --port 8791.`, { cause });
      });
      if (args.json) printJson({ event: "started", url: origin.url, gateway });
      else console.log(`edge-t5 origin works for ${gateway}, which reaches it on ${origin.url} (Ctrl-C ends it).`);
      const { signal } = interruption;
      if (!signal.aborted) {
        await new Promise<void>((resolve) => {
          signal.addEventListener("abort", () => resolve(), { once: true });
          // `edge-t5 start` began it, and is gone.
          process.once("disconnect", resolve);
        });
      }
      await origin.stop();
      if (process.connected) process.disconnect();
    } finally {
      interruption.dispose();
    }
  },
});

/** @throws EdgeT5Error `E_USAGE` when none is known */
async function localSecret(gateway: string): Promise<string> {
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(new URL(gateway).hostname);
  const secrets = isLocal ? await readLocalSecrets(`${fileURLToPath(PACKAGE_ROOT)}.wrangler/state`) : null;
  if (secrets?.ORIGIN_SECRET) return secrets.ORIGIN_SECRET;
  throw new EdgeT5Error("E_USAGE", "The gateway's ORIGIN_SECRET is missing: give --secret, or set ORIGIN_SECRET.");
}

/** The bucket's own interface, where all of it is set. @throws EdgeT5Error `E_USAGE` where only a part is */
function s3Options(): S3Options | undefined {
  const { S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_REGION } = process.env;
  const needed = { S3_ENDPOINT, S3_BUCKET, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY };
  const missing = Object.entries(needed).filter(([, value]) => !value);
  if (missing.length === Object.keys(needed).length) return undefined;
  if (missing.length > 0) {
    throw new EdgeT5Error(
      "E_USAGE",
      `${missing.map(([name]) => name).join(", ")} must be set beside the other S3 variables.`,
    );
  }
  return {
    endpoint: S3_ENDPOINT as string,
    bucket: S3_BUCKET as string,
    accessKeyId: S3_ACCESS_KEY_ID as string,
    secretAccessKey: S3_SECRET_ACCESS_KEY as string,
    region: S3_REGION || undefined,
  };
}

/** Longest input and output, and room for so many sequences of that size. @throws EdgeT5Error `E_USAGE` */
function servingLimits(): EngineLimits {
  const limit = (name: string, most: number, otherwise: number) =>
    wholeNumber(name, process.env[name] || String(otherwise), 1, most);
  return {
    maxInputTokens: limit("ORIGIN_MAX_PROMPT_TOKENS", 32_768, 2048),
    maxNewTokens: limit("ORIGIN_MAX_NEW_TOKENS", 32_768, 1024),
    maxSequences: limit("ORIGIN_MAX_SEQUENCES", 1024, 16),
  };
}

function textOf({ event, job, detail }: OriginEvent): string {
  const time = new Date().toISOString().slice(11, 19);
  return [time, event, job, detail].filter((part) => part !== undefined).join("  ");
}
