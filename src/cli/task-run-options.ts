/** The options of `edge-t5 generate` that belong to `--task`: which there are, and the run that they ask for. */
import { parseWith } from "../api/parse.ts";
import { tableChoiceSchema } from "../api/task-run.ts";
import { EdgeT5Error } from "../errors.ts";
import type { GenerateOptions } from "../t5/model.ts";
import { IMAGE_LANGUAGES, readsWriting, type TaskDefinition } from "../tenancy/task-definition.ts";
import type { TableChoice } from "../tenancy/task-request.ts";
import { type OptionDef, wholeNumber } from "./arguments.ts";
import { generationArgs } from "./generation-options.ts";
import { taskDefinitionOf } from "./task-definition.ts";

export const taskArgs = {
  task: {
    type: "string",
    valueHint: "name",
    description: "A packaged task, a definition's file as task put --file takes it, or TENANT/NAME of a gateway",
  },
  field: {
    type: "string",
    valueHint: "name=text",
    multiple: true,
    description:
      "With a --task of several fields: one beside PROMPT, which is the other one, as a text or, where it may be one, a file; may be repeated",
  },
  words: {
    type: "string",
    valueHint: "n",
    description: "With a --task that sums up by sections: words of the summary",
  },
  select: {
    type: "string",
    valueHint: "json",
    description:
      'With a --task for tables: {"table": 0, "columns": ["a"], "rows": {"from": 1, "to": 9}}; rows count from 1',
  },
  languages: {
    type: "string",
    valueHint: "eng,deu",
    description: `With a --task that reads images: what the writing in them may be in, of ${IMAGE_LANGUAGES.join(", ")}`,
  },
  explain: { type: "boolean", description: "With --task: tell on stderr, or in --json, what the model is given" },
} satisfies Record<string, OptionDef>;

/** A task, and what the command line says of its run. */
export interface TaskRun {
  /** As it was asked for. */
  name: string;
  definition: TaskDefinition;
  /** Fields of the template that stand beside the prompt. */
  fields: Readonly<Record<string, string>>;
  select: TableChoice | undefined;
  /** Of a summary by sections. */
  words: number | undefined;
  explain: boolean;
  /** Whether the command line says how long the answer may be. */
  hasMaxTokens: boolean;
  /** The task's own, under those of the command line. */
  options: GenerateOptions;
}

type TaskArgs = { [Name in "task" | "words" | "select" | "languages" | "labels"]?: string | undefined } & {
  explain?: boolean | undefined;
};

/**
 * @param args all options of the command
 * @param fields every value of `--field`
 * @param given how to generate, as the command line says it
 * @returns null without `--task`
 * @throws EdgeT5Error `E_USAGE` for options that the task does not take, and as {@link taskDefinitionOf}
 */
export async function taskRunOf(
  args: TaskArgs & Readonly<Record<string, unknown>>,
  fields: readonly string[],
  given: GenerateOptions,
): Promise<TaskRun | null> {
  const { task: name } = args;
  if (name === undefined) {
    const other = Object.keys(taskArgs).find((each) => args[each] !== undefined && args[each] !== false);
    if (other === undefined) return null;
    throw new EdgeT5Error("E_USAGE", `--${other} is for --task, which is missing. Add one, or drop --${other}.`);
  }
  const definition = await taskDefinitionOf(name);
  refuseOthers(name, definition, args);
  const asked = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const languages = args.languages === undefined ? definition.image.languages : languagesOf(args.languages);
  return {
    ...{ name, explain: args.explain === true, hasMaxTokens: given.max_new_tokens !== undefined },
    definition: { ...definition, image: { ...definition.image, languages } },
    fields: fieldsOf(fields),
    select: args.select === undefined ? undefined : selectionOf(args.select),
    words: args.words === undefined ? (definition.words ?? undefined) : wholeNumber("--words", args.words, 5, 5000),
    // One answer is printed, whatever a request would get.
    options: { ...definition.generation, ...asked, num_return_sequences: 1 },
  };
}

/** @throws EdgeT5Error `E_USAGE` for an option that would change nothing */
function refuseOthers(name: string, definition: TaskDefinition, args: Readonly<Record<string, unknown>>): void {
  const { labels, long, input } = definition;
  if (args.labels !== undefined) {
    const fix = labels ? "the task has its own. Drop --labels" : "its definition has none. Drop one of the two";
    throw new EdgeT5Error("E_USAGE", `--labels beside --task ${name}: ${fix}.`);
  }
  const given = [...Object.keys(generationArgs), "logprobs"].find((each) => args[each] !== undefined);
  if (labels && given !== undefined) {
    throw new EdgeT5Error(
      "E_USAGE",
      `--${given} and --task ${name} contradict each other: it scores labels, nothing is searched or sampled. Drop --${given}.`,
    );
  }
  for (const each of ["answers", "logprobs"]) {
    if (args[each] === undefined) continue;
    throw new EdgeT5Error(
      "E_USAGE",
      `--${each} and --task contradict each other: a task gives one answer here, as a text. Drop --${each}.`,
    );
  }
  if (args.words !== undefined && long !== "sections") {
    throw new EdgeT5Error("E_USAGE", `--words is for tasks that sum up by sections; --task ${name} does not. Drop it.`);
  }
  if (args.select !== undefined && input !== "table") {
    throw new EdgeT5Error("E_USAGE", `--select is for tasks that take tables; --task ${name} takes ${input}. Drop it.`);
  }
  if (args.languages !== undefined && !readsWriting(definition)) {
    throw new EdgeT5Error("E_USAGE", `--languages is for tasks that read images; --task ${name} does not. Drop it.`);
  }
}

/** @throws EdgeT5Error `E_USAGE` */
function languagesOf(text: string): TaskDefinition["image"]["languages"] {
  return text.split(",").map((given) => {
    const language = IMAGE_LANGUAGES.find((each) => each === given.trim());
    if (language) return language;
    throw new EdgeT5Error(
      "E_USAGE",
      `--languages has ${JSON.stringify(given)}. Give one or several of ${IMAGE_LANGUAGES.join(", ")}, with commas between.`,
    );
  });
}

/** @throws EdgeT5Error `E_USAGE` */
function fieldsOf(values: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const value of values) {
    const [, name, text] = /^(\w+)=(.*)$/s.exec(value) ?? [];
    if (name === undefined || text === undefined) {
      throw new EdgeT5Error(
        "E_USAGE",
        `--field is ${JSON.stringify(value)}. Write NAME=TEXT, such as language=French.`,
      );
    }
    if (Object.hasOwn(fields, name)) throw new EdgeT5Error("E_USAGE", `--field ${name} is given twice. Drop one.`);
    fields[name] = text;
  }
  return fields;
}

/** @throws EdgeT5Error `E_USAGE` */
function selectionOf(text: string): TableChoice {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new EdgeT5Error(
      "E_USAGE",
      `--select is ${JSON.stringify(text)}, no JSON. Write it so: --select '{"table": 0, "columns": ["town"]}'.`,
      { cause },
    );
  }
  try {
    return parseWith(tableChoiceSchema, json, "--select");
  } catch (cause) {
    throw new EdgeT5Error("E_USAGE", `--select: ${(cause as Error).message}`, { cause });
  }
}
