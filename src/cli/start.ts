/** `edge-t5 start` */
import { once } from "node:events";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_PACKAGE } from "../index.ts";
import { localSecrets, writeDevVars } from "../local/secrets.ts";
import { PACKAGE_ROOT } from "../package-root.ts";
import { FolderStore } from "../store/folder.ts";
import { readManifest } from "../t5/manifest.ts";
import { wholeNumber } from "./arguments.ts";
import { loadLocal } from "./local.ts";
import { abortOnSignals } from "./output.ts";
import { createProgress } from "./progress.ts";

const DEFAULT_PORT = 8787;
const ROOT = fileURLToPath(PACKAGE_ROOT);

export default defineCommand({
  meta: {
    name: "start",
    description: "Serve a package on this machine: the gateway and the Workers that hold the model",
  },
  args: {
    model: { type: "string", valueHint: "dir", description: "Package folder; default: the packaged model" },
    port: { type: "string", description: "Port; default: $PORT, or 8787" },
    engine: {
      type: "enum",
      options: ["simd", "onnx"],
      default: "simd",
      description: "Engine to build the Workers with: our kernels, or onnxruntime-web",
    },
    "one-worker": {
      type: "boolean",
      description: "Encoder and decoder in one Worker, for a model that fits one isolate",
    },
    host: { type: "string", default: "127.0.0.1", description: "Address to listen on; 0.0.0.0 for all" },
    state: { type: "string", valueHint: "dir", description: "Local R2's folder; default: .wrangler/state of the kit" },
  },
  async run({ args }) {
    const port = wholeNumber(
      args.port === undefined ? "PORT" : "--port",
      args.port ?? (process.env.PORT || String(DEFAULT_PORT)),
      1,
      65535,
    );
    const { checkPort, migrateLocal, seedR2, serve, writeWorkers } = await loadLocal();
    // Wrangler runs in the kit's folder, not in this one.
    const state = resolve(args.state ?? `${ROOT}.wrangler/state`);
    const model = args.model ?? DEFAULT_PACKAGE;
    const manifest = await readManifest(new FolderStore(model));
    await checkPort(port, args.host);
    // A folder a server: one that runs watches its files.
    const folder = join(state, "workers", String(port));
    const { workers } = await writeWorkers(manifest, folder, {
      root: ROOT,
      engine: args.engine as "simd" | "onnx",
      oneWorker: args["one-worker"] === true,
      isLocal: true,
    });
    await writeDevVars(folder, await localSecrets(state));
    const interruption = abortOnSignals();
    const progress = createProgress();
    let name: string;
    try {
      name = await seedR2(model, ROOT, state, progress.update);
    } finally {
      progress.stop();
    }
    await migrateLocal(ROOT, state);
    try {
      // The gateway first: the one that is reached from outside.
      const configs = workers.map(({ path }) => path).reverse();
      const { host } = args;
      const registry = join(folder, "registry");
      const child = await serve({ root: ROOT, configs, port, host, state, registry, signal: interruption.signal });
      console.log(welcome(name, port, args.state === undefined ? null : state));
      const [code] = await once(child, "exit");
      if (!interruption.signal.aborted) {
        throw new EdgeT5Error("E_IO", `The Workers ended by themselves (exit code ${code}); see the messages above.`);
      }
    } finally {
      interruption.dispose();
    }
  },
});

/** @param state the folder of local state, where it is not the kit's own */
function welcome(model: string, port: number, state: string | null): string {
  const url = `http://localhost:${port}`;
  const body = JSON.stringify({ model, prompt: "translate English to German: The house is old." });
  const readToken = `node -p 'require("${state}/secrets.json").ADMIN_TOKEN'`;
  return [
    `edge-t5 serves ${model} on ${url} (Ctrl-C ends it). Make a tenant and a key, then try it:`,
    "",
    ...(port === DEFAULT_PORT ? [] : [`  export EDGE_T5_URL=${url}`]),
    ...(state === null ? [] : [`  export EDGE_T5_ADMIN_TOKEN=$(${readToken})`]),
    "  npx edge-t5 tenant create demo",
    "  KEY=$(npx edge-t5 key create demo)",
    `  curl ${url}/v1/completions -H "authorization: Bearer $KEY" -H 'content-type: application/json' \\`,
    `    -d '${body}'`,
    "",
  ].join("\n");
}
