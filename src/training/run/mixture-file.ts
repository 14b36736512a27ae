/** Several tasks to train on together, from a file. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import * as z from "zod";
import { EdgeT5Error } from "../../errors.ts";
import { type DataSettings, parseJson, parseSettings, ratesSchema, taskSchema } from "./settings.ts";

const mixtureSchema = z.strictObject({ tasks: z.array(taskSchema).min(1), rates: ratesSchema.optional() });

/**
 * @param folder that the tasks' files are relative to; default: the mixture's own
 * @throws EdgeT5Error `E_INPUT` for a file that says what cannot be; the operating system's errors
 */
export async function readMixture(
  path: string,
  folder?: string,
): Promise<Pick<Extract<DataSettings, { kind: "pairs" }>, "tasks" | "rates">> {
  const { tasks, rates } = parseSettings(mixtureSchema, parseJson(await readFile(path, "utf8"), path), path);
  const refuse = (what: string) => new EdgeT5Error("E_INPUT", `${path}: ${what}.`);
  const names = tasks.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw refuse(`two tasks are called ${twice}. Rename one`);
  const rated = tasks.filter(({ rate }) => rate !== undefined).length;
  if (rated > 0 && rated < tasks.length)
    throw refuse("some tasks have a rate, others none. Give one to all, or to none");
  if (rated > 0 && rates) throw refuse('tasks have a rate, and there are "rates" for all. Drop one of the two');
  const at = (files: readonly string[]) => files.map((file) => resolve(folder ?? dirname(path), file));
  return {
    tasks: tasks.map((task) => ({ ...task, train: at(task.train), valid: at(task.valid) })),
    ...(rates && { rates }),
  };
}
