/** The rows that quality is measured on: those kept here, or all that the default model's recipe validates with. */
import { fileURLToPath } from "node:url";
import { readPairs } from "../../src/training/data/read-pairs.ts";
import { readMixture } from "../../src/training/run/mixture-file.ts";
import { readReference, TASKS, type Task } from "./reference.ts";

export interface Row {
  input: string;
  /** A person's answer. */
  reference: string;
}

export type Rows = Record<Task, readonly Row[]>;

const RECIPE = fileURLToPath(new URL("../../recipes/default-model/mixture.json", import.meta.url));

/** @param most of a task */
export function keptRows(most: number): Rows {
  return byTask((task) => readReference(task).slice(0, most));
}

/**
 * @param folder with the files that the recipe's mixture names
 * @param most of a task, from all over its files
 */
export async function validationRows(folder: string, most: number): Promise<Rows> {
  const { tasks } = await readMixture(RECIPE, folder);
  const rows = new Map<string, Row[]>();
  for (const { name, valid, ...format } of tasks) {
    const pairs = (await Promise.all(valid.map((file) => readPairs(file, format)))).flat();
    const all = pairs.map(({ input, target }) => ({ input, reference: target }));
    rows.set(name, spread(all, most));
  }
  return byTask((task) => rows.get(task) ?? []);
}

export function byTask<T>(of: (task: Task) => T): Record<Task, T> {
  return Object.fromEntries(TASKS.map((task) => [task, of(task)])) as Record<Task, T>;
}

/** At most so many, at equal distances. */
function spread<T>(all: readonly T[], most: number): T[] {
  const count = Math.min(all.length, most);
  return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)] as T);
}
