/** `edge-t5 start` */
import { once } from "node:events";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_PACKAGE } from "../index.ts";
import { DEMO_TASKS, type Demo, ensureDemo } from "../local/demo.ts";
import type { Readers } from "../local/deployment.ts";
import { localSecrets, writeDevVars } from "../local/secrets.ts";
import { PACKAGE_ROOT } from "../package-root.ts";
import { FolderStore } from "../store/folder.ts";
import { readManifest } from "../t5/manifest.ts";
import { wholeNumber } from "./arguments.ts";
import { clientOf } from "./control-plane.ts";
import { loadLocal } from "./local.ts";
import { DEFAULT_ORIGIN_PORT } from "./origin-options.ts";
import { abortOnSignals, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";
import { readersOption } from "./readers-option.ts";

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
    readers: readersOption,
    host: { type: "string", default: "127.0.0.1", description: "Address to listen on; 0.0.0.0 for all" },
    state: {
      type: "string",
      valueHint: "dir",
      description: "Folder of local storage; default: .wrangler/state of the kit",
    },
    origin: {
      type: "boolean",
      default: true,
      description: "Run an origin beside the Workers, which does batches and fine-tuning",
      negativeDescription: "Run no origin: start one with edge-t5 origin",
    },
    "origin-url": {
      type: "string",
      valueHint: "url",
      description: `With --no-origin: where one will be told of jobs; default: http://127.0.0.1:${DEFAULT_ORIGIN_PORT}`,
    },
    demo: {
      type: "boolean",
      default: true,
      description: "Make a tenant to try it with, its tasks and a key",
      negativeDescription: "Make no tenant, and no key",
    },
    json: { type: "boolean", description: "Print one JSON object, with the key, once the Workers answer" },
  },
  async run({ args }) {
    const port = wholeNumber(
      args.port === undefined ? "PORT" : "--port",
      args.port ?? (process.env.PORT || String(DEFAULT_PORT)),
      1,
      65535,
    );
    const { checkPort, freePort, migrateLocal, runOrigin, seedR2, serve, writeWorkers } = await loadLocal();
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
      readers: args.readers as Readers,
      isLocal: true,
    });
    const secrets = await localSecrets(state);
    const originPort = args.origin ? await freePort() : DEFAULT_ORIGIN_PORT;
    const originUrl = args["origin-url"] ?? `http://127.0.0.1:${originPort}`;
    await writeDevVars(folder, { ...secrets, ORIGIN_URL: originUrl });
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
      const exited = once(child, "exit");
      const gateway = `http://${host === "0.0.0.0" ? "127.0.0.1" : host}:${port}`;
      if (args.origin)
        runOrigin({
          ...{ gateway, secret: secrets.ORIGIN_SECRET, port: originPort, cache: join(state, "origin-models") },
          ...{ child, signal: interruption.signal },
        });
      try {
        const demo = args.demo ? await makeDemo({ host, port, token: secrets.ADMIN_TOKEN }, state, name, model) : null;
        const place: Place = {
          model: name,
          url: `http://localhost:${port}`,
          state,
          hasOwnState: args.state !== undefined,
        };
        if (args.json) printJson(placeJson(place, demo));
        else console.log(demo ? demoWelcome(place, demo) : welcome(place));
      } catch (error) {
        child.kill("SIGTERM");
        throw error;
      }
      const [code] = await exited;
      if (!interruption.signal.aborted) {
        throw new EdgeT5Error("E_IO", `The Workers ended by themselves (exit code ${code}); see the messages above.`);
      }
    } finally {
      interruption.dispose();
    }
  },
});

interface Place {
  /** The model's name. */
  model: string;
  url: string;
  /** The folder of local state, and whether it is another than the kit's own. */
  state: string;
  hasOwnState: boolean;
}

/** @param folder the package's */
function makeDemo(
  { host, port, token }: { host: string; port: number; token: string },
  state: string,
  model: string,
  folder: string,
): Promise<Demo> {
  const url = `http://${host === "0.0.0.0" ? "127.0.0.1" : host}:${port}`;
  const tasks = resolve(folder) === resolve(DEFAULT_PACKAGE) ? DEMO_TASKS : [];
  return ensureDemo(clientOf({ url, token }).request, url, state, model, tasks);
}

function placeJson({ model, url, state }: Place, demo: Demo | null) {
  const made = demo && { tenant: demo.tenant, key: demo.key, tasks: demo.names };
  return { model, url, state, demo: made };
}

function demoWelcome(place: Place, { tenant, key, tasks, names }: Demo): string {
  const { model, url } = place;
  const curl = (path: string, body: object) => curlOf(url, path, body);
  const prompt = "translate English to German: The house is old.";
  const settings = settingsOf(place);
  return [
    `edge-t5 serves ${model} on ${url} (Ctrl-C ends it). In another terminal:`,
    "",
    `  export KEY=${key}`,
    ...tasks.map(({ name, example }) => curl(`/v1/tasks/${name}`, { input: example })),
    curl("/v1/completions", { model, prompt }),
    "",
    ...(tasks.length > 0 ? [] : tasksOf(tenant, names, place)),
    "Or try it in a browser:",
    "",
    `  ${url}/#key=${key}`,
    "",
    `What the tenant ${tenant} used (a second or two later), what it costs, and a busy week of others:`,
    "",
    ...settings,
    `  npx edge-t5 usage --tenant ${tenant} --by task`,
    `  npx edge-t5 usage invoice --tenant ${tenant}`,
    "  npx edge-t5 demo traffic",
    "",
  ].join("\n");
}

function curlOf(url: string, path: string, body: object): string {
  return `  curl ${url}${path} -H "authorization: Bearer $KEY" \\\n    -d '${JSON.stringify(body)}'`;
}

/** Of a model that the demo has no tasks for. The example's name is none of the first run's, which would change. */
function tasksOf(tenant: string, names: readonly string[], place: Place): string[] {
  const { model, url } = place;
  const told =
    names.length > 0
      ? `Its tasks, of the tenant ${tenant}: ${names.join(", ")}.`
      : "It has no tasks yet: those of the first run are the packaged model's.";
  return [
    `${told} Add one, of a prefix that it was trained with:`,
    "",
    ...settingsOf(place),
    `  npx edge-t5 task put ${tenant} digest --model ${model} --input document --long sections \\`,
    "    --template 'summarize: {input}'",
    curlOf(url, "/v1/tasks/digest", {
      input: "A tool to convert images between formats. It supports PNG and JPEG.",
    }),
    "",
  ];
}

function welcome(place: Place): string {
  const { model, url } = place;
  const body = JSON.stringify({ model, prompt: "translate English to German: The house is old." });
  return [
    `edge-t5 serves ${model} on ${url} (Ctrl-C ends it). Make a tenant and a key, then try it:`,
    "",
    ...settingsOf(place),
    "  npx edge-t5 tenant create acme",
    "  KEY=$(npx edge-t5 key create acme)",
    `  curl ${url}/v1/completions -H "authorization: Bearer $KEY" \\`,
    `    -d '${body}'`,
    "",
    `Or give the key to the page at ${url}/.`,
    "",
  ].join("\n");
}

/** What the other commands must be told, where it is not what they take for granted. */
function settingsOf({ url, state, hasOwnState }: Place): string[] {
  const readToken = `node -p 'require("${state}/secrets.json").ADMIN_TOKEN'`;
  return [
    ...(url.endsWith(`:${DEFAULT_PORT}`) ? [] : [`  export EDGE_T5_URL=${url}`]),
    ...(hasOwnState ? [`  export EDGE_T5_ADMIN_TOKEN=$(${readToken})`] : []),
  ];
}
