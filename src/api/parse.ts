/** Checks what a client sent against a schema, in the words of our errors. */
import type * as z from "zod";
import { ApiError } from "../api-error.ts";
import { issueText } from "../issue-text.ts";
import { nearestName } from "../nearest-name.ts";

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
  // Those that are not given yet.
  const fields = "shape" in schema ? Object.keys(schema.shape as object).filter((name) => !has(value, name)) : [];
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
    const meant = path.length === 0 ? nearestName(key, fields) : undefined;
    const advice = meant === undefined ? "Leave it out." : `Did you mean ${nameOf([meant])}?`;
    return refuse("unknown_parameter", `${unknown} is no part of ${what}. ${advice}`, unknown);
  }
  const reason = issue?.message ?? "it does not fit";
  const given = path.reduce<unknown>(
    (at, key) => (at as Record<PropertyKey, unknown> | null | undefined)?.[key],
    value,
  );
  if (given === undefined && param !== null) {
    return refuse("missing_required_parameter", `${param} is missing from ${what}: ${reason}.`);
  }
  return refuse(issue?.code === "invalid_type" ? "invalid_type" : "invalid_value", `${param ?? what}: ${reason}.`);
}

function has(value: unknown, name: string): boolean {
  return typeof value === "object" && value !== null && name in value;
}
