/** What is wrong with a value that does not fit a schema, in plain words: zod's own are for who writes schemas. */
import type * as z from "zod";

type RawIssue = Parameters<z.core.$ZodErrorMap>[0];

const TYPES: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "an object",
  record: "an object",
  null: "null",
  undefined: "nothing",
  date: "a date",
};

const FORMATS: Readonly<Record<string, string>> = {
  base64: "base64",
  date: "a date, such as 2026-11-28",
  datetime: "a time, such as 2026-11-28T12:00:00Z",
  url: "an address, such as https://example.org",
  email: "an address, such as name@example.org",
  uuid: "a UUID",
};

const LONGEST_SHOWN = 60;

/** For `safeParse`'s `error`; a schema's own texts come before it. Without a full stop. */
export function issueText(issue: RawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `give ${typeText(issue.expected)}${butNot(issue.input)}`;
    case "invalid_value":
      return `give ${oneOf(issue.values.map(shown))}${butNot(issue.input)}`;
    case "too_small": {
      const { minimum, inclusive, exact, origin } = issue;
      const count = countOf(issue.input);
      if (count === 0) return `it is empty; give ${origin === "string" ? "a text" : "at least one"}`;
      return `give ${sized(origin, exact ? "exactly" : inclusive === false ? "more than" : "at least", minimum)}${but(issue.input)}`;
    }
    case "too_big": {
      const { maximum, inclusive, exact, origin } = issue;
      return `give ${sized(origin, exact ? "exactly" : inclusive === false ? "less than" : "at most", maximum)}${but(issue.input)}`;
    }
    case "invalid_format": {
      const known = FORMATS[issue.format];
      if (known) return `give ${known}${butNot(issue.input)}`;
      return issue.pattern ? `give a text of the form ${issue.pattern}` : `give a text of the form ${issue.format}`;
    }
    case "not_multiple_of":
      return `give a multiple of ${issue.divisor}${butNot(issue.input)}`;
    case "unrecognized_keys":
      return `leave out ${issue.keys.join(", ")}`;
    case "invalid_union":
      return unionText(issue.errors, issue.input);
    case "invalid_key":
    case "invalid_element":
      return issue.issues[0]?.message ?? "it does not fit";
    default:
      return "it does not fit";
  }
}

/** What any of the forms would be. */
function unionText(forms: readonly (readonly z.core.$ZodIssue[])[], input: unknown): string {
  const wanted = forms.flatMap((issues) => {
    const [issue] = issues;
    if (issue?.path.length !== 0) return [];
    if (issue.code === "invalid_type") return [typeText(issue.expected)];
    return issue.code === "invalid_value" ? issue.values.map(shown) : [];
  });
  return wanted.length > 0 ? `give ${oneOf([...new Set(wanted)])}${butNot(input)}` : "none of the forms it has fits";
}

function typeText(type: string): string {
  return TYPES[type] ?? type;
}

function oneOf(choices: readonly string[]): string {
  return choices.length > 1 ? `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}` : (choices[0] ?? "nothing");
}

function sized(origin: string, how: string, bound: number | bigint): string {
  if (origin === "string") return `a text of ${how} ${bound} characters`;
  if (origin === "array" || origin === "set") return `${how} ${bound} ${bound === 1 ? "item" : "items"}`;
  return `${origin === "int" ? "a whole number" : "a number"} of ${how} ${bound}`;
}

/** Of a text or a list; null of what has none. */
function countOf(input: unknown): number | null {
  return typeof input === "string" || Array.isArray(input) ? input.length : null;
}

/** By how many it differs from what is asked for. */
function but(input: unknown): string {
  const count = countOf(input);
  return count === null ? butNot(input) : `, not ${count}`;
}

function butNot(input: unknown): string {
  if (input === undefined || Number.isNaN(input)) return "";
  if (input === null) return ", not null";
  return `, not ${typeof input === "object" ? typeText(Array.isArray(input) ? "array" : "object") : shown(input)}`;
}

function shown(value: unknown): string {
  const text = typeof value === "bigint" ? `${value}` : JSON.stringify(value);
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text;
}
