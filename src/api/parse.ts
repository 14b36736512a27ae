/** Checks what a client sent against a schema, in the words of our errors. */
import type * as z from "zod";
import { ApiError } from "../api-error.ts";
import { issueText } from "../issue-text.ts";

/**
 * @param what what is checked, as its reader calls it: `a tenant`
 * @param at where it stands in the request; left out: it is the request
 * @throws ApiError 400: `missing_required_parameter`, `unknown_parameter`, `invalid_type`, `invalid_value`; `param` names
 * the field
 */
export function parseWith<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  what: string,
  at?: string,
): z.output<Schema> {
  const parsed = schema.safeParse(value, { error: issueText });
  if (parsed.success) return parsed.data;
  const fields = "shape" in schema ? Object.keys(schema.shape as object) : [];
  throw describe(parsed.error, value, what, fields, at);
}

function describe({ issues }: z.ZodError, value: unknown, what: string, fields: string[], at?: string): ApiError {
  // A misspelled field is missing under its right name too: what stands there says more.
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0];
  const path = issue?.path ?? [];
  const nameOf = (keys: readonly PropertyKey[]) => [...(at ? [at] : []), ...keys].join(".") || null;
  const param = nameOf(path);
  const refuse = (code: string, message: string, of = param) => new ApiError(400, code, message, { param: of });
  if (issue?.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    const unknown = nameOf([...path, key]);
    const missing = issues.find((other) => other.path.length === path.length + 1 && isMissing(other.path, value));
    const alike =
      path.length === 0 ? fields.find((field) => areAlike(field, key) && isMissing([field], value)) : undefined;
    const meant = missing?.path ?? (alike === undefined ? undefined : [alike]);
    const advice = meant ? `Did you mean ${nameOf(meant)}?` : "Leave it out.";
    return refuse("unknown_parameter", `${unknown} is no part of ${what}. ${advice}`, unknown);
  }
  const reason = issue?.message ?? "it does not fit";
  if (isMissing(path, value) && param !== null) {
    return refuse("missing_required_parameter", `${param} is missing from ${what}: ${reason}.`);
  }
  return refuse(issue?.code === "invalid_type" ? "invalid_type" : "invalid_value", `${param ?? what}: ${reason}.`);
}

/** Whether two names differ by an ending, by case or by underscores: `input` and `inputs`, `max_tokens` and `maxTokens`. */
function areAlike(a: string, b: string): boolean {
  const [one, other] = [a, b].map((name) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, "")) as [string, string];
  return one !== "" && other !== "" && (one.startsWith(other) || other.startsWith(one));
}

/** Whether there is nothing at a place of a value. */
function isMissing(path: readonly PropertyKey[], value: unknown): boolean {
  let at = value;
  for (const key of path) at = (at as Record<PropertyKey, unknown> | null | undefined)?.[key];
  return at === undefined;
}
