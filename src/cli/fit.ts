/** `edge-t5 fit DATA… --base DIR|PACKAGE --run DIR` */
import { resolve } from "node:path";
import { type ArgsDef, defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { METRIC_NAMES, type MetricName } from "../evaluation/metrics.ts";
import { DEFAULT_PACKAGE } from "../index.ts";
import type { TaskDefinition } from "../tenancy/task-definition.ts";
import type { LoraOptions } from "../training/lora.ts";
import { type DataSettings, readMixture, resumeRun, startRun, type TaskSettings } from "../training/run/index.ts";
import { decimal, type OptionDef, valuesOf, wholeNumber } from "./arguments.ts";
import { localCheckpoint } from "./checkpoint.ts";
import { controlPlaneOptions } from "./control-plane.ts";
import { listOf } from "./limit-options.ts";
import { taskDefinitionOf } from "./task-definition.ts";
import {
  number,
  refuseBesideResume,
  runFolder,
  runOptions,
  shareOf,
  showRun,
  trainingRequestOf,
} from "./training-options.ts";

const DEFAULT_LIMITS = { input: 512, target: 256 };
/** Of the rows, where no files are for measuring. */
const HOLD_OUT = 0.05;
/** What a mixture has of its own. */
const TASK_OPTIONS = ["task", "template", "columns", "target", "labels", "valid", "metric"] as const;

const files = {
  type: "positional",
  required: false,
  multiple: true,
  description: "Rows of inputs and targets: JSON lines, CSV or TSV; also .gz. Several may be given",
} as const satisfies OptionDef;

const valid = {
  type: "string",
  valueHint: "file",
  multiple: true,
  description: "Rows to measure by; may be given again. Default: some of the rows are held out",
} as const satisfies OptionDef;

const args = {
  files,
  base: {
    type: "string",
    valueHint: "dir",
    description: "Checkpoint or package to begin from, or OWNER/NAME of the hub; default: the packaged model",
  },
  valid,
  task: {
    type: "string",
    valueHint: "file",
    description:
      "Task definition, as task put --file takes it, TENANT/NAME of a gateway, or a packaged task: template, labels, limits",
  },
  template: { type: "string", description: "Makes the input of a row's fields: 'summarize: {input}'" },
  columns: {
    type: "string",
    valueHint: "a=b,…",
    description: "Columns of fields that are called otherwise: input=body",
  },
  target: { type: "string", valueHint: "name", description: "Column of the target; default: target, or the second" },
  labels: { type: "string", valueHint: "a,b", description: "The only targets that there may be" },
  metric: {
    type: "enum",
    options: [...METRIC_NAMES],
    description: "Generate answers, and keep the checkpoint that is best by this; default: by the loss",
  },
  mixture: { type: "string", valueHint: "file", description: "Several tasks, as JSON, in place of files; see README" },
  data: { type: "string", valueHint: "dir", description: "Folder of the mixture's files; default: the mixture's own" },
  "max-input-tokens": { type: "string", valueHint: "n", description: "Longest input; default: 512" },
  "max-target-tokens": { type: "string", valueHint: "n", description: "Longest target; default: 256" },
  truncate: { type: "boolean", description: "Cut what is longer, in place of refusing it" },
  lora: { type: "boolean", description: "Train an adapter (LoRA) beside the model" },
  "lora-rank": { type: "string", valueHint: "n", description: "Default: 8" },
  "lora-alpha": { type: "string", valueHint: "n", description: "Default: twice the rank" },
  "lora-dropout": { type: "string", valueHint: "part", description: "Default: 0" },
  "lora-targets": {
    type: "string",
    valueHint: "a,b",
    description: "Layers that it is for: q, k, v, o, wi, wo; default: q,v",
  },
  ...runOptions,
  ...controlPlaneOptions,
} as const satisfies ArgsDef;

type FitArgs = { [Name in keyof typeof args]?: string | boolean | undefined } & { _: string[] };

export default defineCommand({
  meta: { name: "fit", description: "Fine-tune a model on rows of inputs and targets, or an adapter beside it" },
  args,
  async run({ args, rawArgs }) {
    const isJson = Boolean(args.json);
    if (args.resume !== undefined) {
      refuseBesideResume(args, ["base"]);
      const { resume, base } = args;
      return showRun(resume, "fit", isJson, (context) => resumeRun(resume, { ...context, base }));
    }
    const run = runFolder(args, "edge-t5 fit");
    const data = await dataOf(args, valuesOf("--valid", rawArgs));
    const lora = loraOf(args);
    const training = { ...trainingRequestOf(args), lora };
    await showRun(run, "fit", isJson, async function* (context) {
      const from = await baseOf(args.base, isJson, context.signal);
      yield* startRun({ run, kind: "fit", base: { from }, data, training }, context);
    });
  },
});

/** @throws EdgeT5Error `E_USAGE` for options that contradict each other */
async function dataOf(args: FitArgs, valid: readonly string[]): Promise<DataSettings> {
  const common = { kind: "pairs" as const, truncate: Boolean(args.truncate), holdOut: shareOf(args, HOLD_OUT) };
  if (typeof args.mixture === "string") {
    const other = args._.length > 0 ? "Files" : TASK_OPTIONS.filter((name) => args[name] !== undefined)[0];
    if (other !== undefined) {
      const what = other === "Files" ? other : `--${other}`;
      throw new EdgeT5Error("E_USAGE", `${what} beside --mixture: its tasks have their own. Leave it out.`);
    }
    const folder = typeof args.data === "string" ? args.data : undefined;
    return { ...common, ...limitsOf(args), ...(await readMixture(args.mixture, folder)) };
  }
  if (args._.length === 0)
    throw new EdgeT5Error("E_USAGE", "FILES are missing: rows to train on. See edge-t5 fit --help.");
  if (args.data !== undefined)
    throw new EdgeT5Error("E_USAGE", "--data belongs to --mixture. Name the files themselves.");
  const definition = typeof args.task === "string" ? await taskDefinitionOf(args.task, placeOf(args)) : null;
  const at = (files: readonly string[]) => files.map((file) => resolve(file));
  const template = textOf(args.template) ?? definition?.template;
  const labels = listOf("--labels", textOf(args.labels)) ?? definition?.labels ?? undefined;
  const task: TaskSettings = {
    name: "task",
    train: at(args._),
    valid: at(valid),
    template,
    columns: columnsOf(textOf(args.columns)),
    target: textOf(args.target),
    labels,
    metric: textOf(args.metric) as MetricName | undefined,
  };
  return { ...common, ...limitsOf(args, definition), tasks: [task] };
}

function limitsOf(args: FitArgs, definition: TaskDefinition | null = null) {
  const of = (name: "max-input-tokens" | "max-target-tokens", otherwise: number) => {
    const value = args[name];
    return typeof value === "string" ? wholeNumber(`--${name}`, value, 2, 100_000) : otherwise;
  };
  return {
    maxInputTokens: of("max-input-tokens", definition?.max_input_tokens ?? DEFAULT_LIMITS.input),
    maxTargetTokens: of("max-target-tokens", definition?.max_output_tokens ?? DEFAULT_LIMITS.target),
  };
}

function placeOf(args: FitArgs) {
  return { url: textOf(args.url), "admin-token": textOf(args["admin-token"]) };
}

/** `a=b,c=d` @throws EdgeT5Error `E_USAGE` */
function columnsOf(value: string | undefined): Record<string, string> | undefined {
  const parts = listOf("--columns", value)?.map((part) => part.split("="));
  if (!parts) return undefined;
  return Object.fromEntries(
    parts.map(([field, column, more]) => {
      if (field && column && more === undefined) return [field, column];
      throw new EdgeT5Error(
        "E_USAGE",
        `--columns is ${JSON.stringify(value)}. Write FIELD=COLUMN,…, such as input=body.`,
      );
    }),
  );
}

/** @throws EdgeT5Error `E_USAGE` for an adapter's options without an adapter */
function loraOf(args: FitArgs): LoraOptions | undefined {
  const names = ["lora-rank", "lora-alpha", "lora-dropout", "lora-targets"] as const;
  const other = names.find((name) => args[name] !== undefined);
  if (!args.lora && other) throw new EdgeT5Error("E_USAGE", `--${other} belongs to --lora. Give that too.`);
  if (!args.lora) return undefined;
  const [rank, alpha, dropout, targets] = names.map((name) => textOf(args[name]));
  return {
    ...(rank !== undefined && { rank: wholeNumber("--lora-rank", rank, 1, 1024) }),
    ...(alpha !== undefined && { alpha: number("--lora-alpha", alpha) }),
    ...(dropout !== undefined && { dropout: decimal("--lora-dropout", dropout, 0, 0.99) }),
    ...(targets !== undefined && { targetModules: listOf("--lora-targets", targets) }),
  };
}

/** A folder or an address as it is; a repository of the hub, downloaded first. */
export async function baseOf(given: string | undefined, quiet: boolean, signal?: AbortSignal): Promise<string> {
  if (given === undefined) return DEFAULT_PACKAGE;
  if (/^https?:\/\//.test(given)) return given;
  return (await localCheckpoint(given, quiet, signal ?? new AbortController().signal)).dir;
}

function textOf(value: string | boolean | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}
