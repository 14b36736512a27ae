/** Strict arguments over citty, which takes unknown options for granted: anything not declared is refused by name. */
import type { ArgDef, ArgsDef } from "citty";
import * as z from "zod";
import { EdgeT5Error } from "../errors.ts";
import { nearestName } from "../nearest-name.ts";

/** An option of a command. */
export type OptionDef = ArgDef & {
  /** It may be given several times; {@link valuesOf} has all its values. Of the last positional, citty's `args._`. */
  multiple?: boolean;
};

/**
 * Checks a command line against a command's declared arguments.
 *
 * @param command as a user types it, `edge-t5 split`
 * @throws EdgeT5Error `E_USAGE` for an unknown option, one that is given twice, a value that is missing, not allowed or
 * not wanted, and a positional argument that is missing or too many
 */
export function checkArguments(command: string, args: ArgsDef, rawArgs: readonly string[]): void {
  const fail = (what: string, hint?: string): never => {
    throw new EdgeT5Error("E_USAGE", `${what}. ${hint ?? `See ${command} --help.`}`);
  };
  const options = optionsOf(args);
  const positionals: string[] = [];
  const given = new Set<ArgDef>();
  for (let i = 0; i < rawArgs.length; i++) {
    const arg = rawArgs[i]!;
    if (arg === "--") {
      positionals.push(...rawArgs.slice(i + 1));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      positionals.push(arg);
      continue;
    }
    const [flag, inline] = splitFlag(arg);
    const option = options.get(flag) ?? fail(`Unknown option ${flag}`, suggestion(command, flag, [...options.keys()]));
    if (option.type === "boolean") {
      if (inline !== undefined) fail(`${flag} takes no value, got ${JSON.stringify(inline)}`);
      continue;
    }
    if (given.has(option) && !option.multiple) fail(`${flag} is given twice`, "Drop one.");
    given.add(option);
    const value = inline ?? rawArgs[++i];
    if (value === undefined || value === "" || (inline === undefined && value.startsWith("-"))) {
      const isNumber = value !== undefined && /^-[\d.]/.test(value);
      fail(`${flag} needs a value`, `Write ${flag}=${isNumber ? value : "VALUE"}.`);
    } else if (option.type === "enum" && option.options && !option.options.includes(value)) {
      fail(`${flag} is ${JSON.stringify(value)}`, `It can be ${option.options.join(" or ")}.`);
    }
  }
  for (const [name, arg] of Object.entries(args)) {
    if (arg.type === "positional") {
      const value = positionals.shift();
      if (value === undefined && arg.required !== false && arg.default === undefined)
        fail(`${name.toUpperCase()} is missing`);
      if ((arg as OptionDef).multiple) positionals.length = 0;
    } else if (arg.required && arg.default === undefined && !given.has(arg)) {
      fail(`--${name} is missing`);
    }
  }
  if (positionals.length > 0) fail(`Unexpected argument ${JSON.stringify(positionals[0])}`);
}

/** Every spelling of every option: `--name`, `-n`, and `--no-name` for a boolean. */
function optionsOf(args: ArgsDef): Map<string, OptionDef> {
  const options = new Map<string, OptionDef>();
  for (const [name, arg] of Object.entries(args)) {
    if (arg.type === "positional") continue;
    const aliases = "alias" in arg ? [arg.alias ?? []].flat() : [];
    for (const spelling of [name, ...aliases]) {
      options.set(spelling.length === 1 ? `-${spelling}` : `--${spelling}`, arg);
      if (arg.type === "boolean" && spelling.length > 1) options.set(`--no-${spelling}`, arg);
    }
  }
  return options;
}

/** Every value of an option that may be given several times, in a command line that {@link checkArguments} let pass. */
export function valuesOf(option: string, rawArgs: readonly string[]): string[] {
  const values: string[] = [];
  for (let i = 0; i < rawArgs.length && rawArgs[i] !== "--"; i++) {
    const [flag, inline] = splitFlag(rawArgs[i] as string);
    if (flag === option) values.push(inline ?? (rawArgs[++i] as string));
  }
  return values;
}

/** `--out=x` → `["--out", "x"]` */
function splitFlag(arg: string): [string, string | undefined] {
  const equals = arg.indexOf("=");
  return equals < 0 ? [arg, undefined] : [arg.slice(0, equals), arg.slice(equals + 1)];
}

/** What the user may have meant, and where to read on. */
export function suggestion(command: string, typed: string, known: readonly string[]): string {
  const nearest = nearestName(typed, known);
  const meant = nearest === undefined ? "" : `Did you mean ${nearest}? `;
  return `${meant}See ${command} --help.`;
}

/**
 * A whole number in a range, as an option's value.
 *
 * @throws EdgeT5Error `E_USAGE`
 */
export function wholeNumber(option: string, value: string, least: number, most: number): number {
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= least && number <= most)) {
    throw new EdgeT5Error(
      "E_USAGE",
      `${option} is ${JSON.stringify(value)}. It must be a whole number from ${least} to ${most}.`,
    );
  }
  return number;
}

/**
 * The value of an option that takes a number, such as `0.7`.
 *
 * @throws EdgeT5Error `E_USAGE`
 */
export function decimal(option: string, value: string, least: number, most: number): number {
  const number = /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= least && number <= most)) {
    throw new EdgeT5Error(
      "E_USAGE",
      `${option} is ${JSON.stringify(value)}. It must be a number from ${least} to ${most}.`,
    );
  }
  return number;
}

const TIME = z.union([z.iso.date(), z.iso.datetime({ offset: true, local: true })]);

/**
 * The time of an option that takes one, as the API takes it. A day begins at midnight, UTC.
 *
 * @throws EdgeT5Error `E_USAGE` for what is none, such as February 30
 */
export function timeOf(option: string, value: string, example: string): string {
  if (TIME.safeParse(value).success) return new Date(value).toISOString();
  throw new EdgeT5Error("E_USAGE", `${option} is ${JSON.stringify(value)}, no day of the calendar. Write ${example}.`);
}
