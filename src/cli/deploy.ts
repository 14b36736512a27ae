/** `edge-t5 deploy [PACKAGE]` */
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_PACKAGE } from "../index.ts";
import { type CostEstimate, estimateCost } from "../local/cost.ts";
import type { DeployStep } from "../local/deploy.ts";
import type { Readers } from "../local/deployment.ts";
import { PACKAGE_ROOT } from "../package-root.ts";
import { FolderStore } from "../store/folder.ts";
import { readManifest } from "../t5/manifest.ts";
import { decimal } from "./arguments.ts";
import { loadDeploy } from "./local.ts";
import { abortOnSignals, formatTable, printJson } from "./output.ts";
import { pushFolder } from "./push.ts";
import { readersOption } from "./readers-option.ts";

/** A Worker's name: the longest suffix, `-decoder-99`, has its place in Cloudflare's 63 characters. */
const NAME = /^[a-z0-9][a-z0-9-]{0,49}$/;

export default defineCommand({
  meta: {
    name: "deploy",
    description: "Make what is missing in a Cloudflare account, deploy the Workers, push the package",
  },
  args: {
    package: { type: "positional", required: false, description: "Package folder; default: the packaged model" },
    name: {
      type: "string",
      default: "edge-t5",
      valueHint: "name",
      description: "The gateway's name; those of bucket, database, queues and private Workers begin with it",
    },
    "dry-run": { type: "boolean", description: "Print the plan and its cost; nothing is asked or touched" },
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
    out: {
      type: "string",
      valueHint: "dir",
      description: "Configurations, address and admin token are kept here; default: .wrangler/deploy/NAME",
    },
    url: { type: "string", valueHint: "url", description: "The gateway's address, where it has a domain of its own" },
    "admin-token": {
      type: "string",
      valueHint: "token",
      description: "Set where the gateway has none yet; default: $EDGE_T5_ADMIN_TOKEN, or one that is made",
    },
    origin: {
      type: "string",
      valueHint: "url",
      description: "Where the gateway reaches a GPU origin: https://…, kept for later runs; none takes it away",
    },
    requests: { type: "string", default: "1e6", valueHint: "n", description: "For the cost: requests a month" },
    "prompt-tokens": { type: "string", default: "64", valueHint: "n", description: "For the cost: of a request" },
    "new-tokens": { type: "string", default: "32", valueHint: "n", description: "For the cost: of a request" },
    "cpu-ms": {
      type: "string",
      valueHint: "ms",
      description: "For the cost: CPU time of a request, if you measured it",
    },
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const { name } = args;
    if (!NAME.test(name)) {
      throw new EdgeT5Error(
        "E_USAGE",
        `--name is ${JSON.stringify(name)}. It must have up to 50 small letters, digits and "-", and begin with a letter or digit.`,
      );
    }
    const dir = args.package ?? DEFAULT_PACKAGE;
    const manifest = await readManifest(new FolderStore(dir));
    const cost = estimateCost(manifest, {
      requests: amount("--requests", args.requests, 1e12),
      promptTokens: amount("--prompt-tokens", args["prompt-tokens"], 1e6),
      newTokens: amount("--new-tokens", args["new-tokens"], 1e6),
      cpuMs: args["cpu-ms"] === undefined ? undefined : decimal("--cpu-ms", args["cpu-ms"], 0, 3e5),
    });
    const { deploy, planSteps } = await loadDeploy();
    const out = resolve(args.out ?? `.wrangler/deploy/${name}`);
    const options = {
      dir: out,
      origin: originOf(args.origin),
      root: fileURLToPath(PACKAGE_ROOT),
      engine: args.engine as "simd" | "onnx",
      oneWorker: args["one-worker"] === true,
      readers: args.readers as Readers,
      name,
    };
    const say = args.json ? () => {} : (text: string) => console.log(text);
    if (args["dry-run"]) {
      const steps = await planSteps(manifest, options);
      if (args.json) return printJson({ dry_run: true, name, steps, cost: costJson(cost) });
      say(
        formatTable(
          ["STEP", "WHAT IS DONE"],
          steps.map(({ what, detail = "" }) => [what, detail]),
        ),
      );
      return say(`\n${costText(cost)}`);
    }
    const interruption = abortOnSignals();
    try {
      const { signal } = interruption;
      const steps: DeployStep[] = [];
      const tell = (step: DeployStep) => {
        steps.push(step);
        say(`${step.outcome.padEnd(10)} ${step.what}`);
      };
      const adminToken = args["admin-token"] ?? (process.env.EDGE_T5_ADMIN_TOKEN || undefined);
      // What an origin on this machine, or elsewhere, is started with.
      const originSecret = process.env.ORIGIN_SECRET || undefined;
      const all = { ...options, url: args.url, adminToken, originSecret, signal };
      const { url, made, ...deployed } = await deploy(manifest, all, tell);
      const kept = `${relative(".", out)}/deployment.json`;
      if (made.adminToken) {
        say(`\nThe gateway's admin token, shown this once and kept in ${kept}:\n\n  ${made.adminToken}\n`);
      }
      if (made.metricsToken) {
        say(`\nMETRICS_TOKEN, for GET /metrics alone, shown this once and kept there too:\n\n  ${made.metricsToken}\n`);
      }
      const gateway = { url, "admin-token": deployed.adminToken };
      const pushed = await pushFolder(dir, gateway, {
        parallel: 4,
        publish: true,
        check: true,
        quiet: args.json === true,
        signal,
      });
      const what = `model ${pushed.name}@${pushed.version}`;
      tell({ what, outcome: pushed.was_current ? "unchanged" : "updated" });
      if (args.json) {
        return printJson({
          name,
          url,
          steps,
          model: { name: pushed.name, version: pushed.version },
          ...(made.adminToken && { admin_token: made.adminToken }),
          ...(made.metricsToken && { metrics_token: made.metricsToken }),
          origin: deployed.origin,
          cost: costJson(cost),
        });
      }
      say(`\n${costText(cost)}\n\n${name} is at ${url}`);
      if (deployed.originSecret) {
        const where = deployed.origin ? `at ${deployed.origin}` : "on any machine";
        say(`\nFor batches and fine-tuning, ${where}, with secrets.ORIGIN_SECRET of ${kept}:\n`);
        say(`  ORIGIN_SECRET=… npx edge-t5 origin --gateway ${url}`);
      }
    } finally {
      interruption.dispose();
    }
  },
});

/** @returns null for `none`, undefined where nothing is said @throws EdgeT5Error `E_USAGE` */
function originOf(text: string | undefined): string | null | undefined {
  if (text === undefined || text === "none") return text && null;
  if (/^https?:$/.test(URL.parse(text)?.protocol ?? "")) return text.replace(/\/+$/, "");
  throw new EdgeT5Error(
    "E_USAGE",
    `--origin is ${JSON.stringify(text)}. Write where the gateway reaches the origin, as https://origin.example.org, or none.`,
  );
}

/** `1e6`, `250000`. */
function amount(option: string, value: string, most: number): number {
  const number = /^\d+(\.\d+)?(e\d+)?$/i.test(value) ? Number(value) : Number.NaN;
  if (number <= most) return number;
  throw new EdgeT5Error(
    "E_USAGE",
    `${option} is ${JSON.stringify(value)}. It must be a number up to ${most}, like 1e6.`,
  );
}

function costJson({ prices, lines, dollars, assumptions }: CostEstimate) {
  return { prices, usd_a_month: round(dollars), lines, assumptions };
}

function costText({ prices, lines, dollars, assumptions }: CostEstimate): string {
  const rows = lines.map(({ what, amount, unit, dollars }) => [
    what,
    `${Number(amount.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 3 })} ${unit}`,
    `$${dollars.toFixed(2)}`.padStart(9),
  ]);
  return [
    `About $${dollars.toFixed(2)} a month, by Cloudflare's prices of ${prices}:\n`,
    formatTable(["WHAT", "HOW MUCH", "DOLLARS"], rows),
    "\nAssumed:",
    ...assumptions.map((line) => `- ${line}`),
  ].join("\n");
}

function round(dollars: number): number {
  return Math.round(dollars * 100) / 100;
}
