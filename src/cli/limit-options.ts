/** Options that several commands of the control plane have, and what they ask for. */
import { EdgeT5Error } from "../errors.ts";
import { wholeNumber } from "./arguments.ts";

/** Of a key, and of a tenant's new keys. */
export const keyLimitOptions = {
  "requests-per-minute": { type: "string", valueHint: "n", description: "Most requests a minute of a key; or none" },
  "tokens-per-minute": {
    type: "string",
    valueHint: "n",
    description: "Most input and output tokens a minute of a key; or none",
  },
} as const;

export interface KeyLimitArgs {
  "requests-per-minute"?: string | undefined;
  "tokens-per-minute"?: string | undefined;
}

/** Those that are given; undefined where none is. */
export function keyLimitsOf(args: KeyLimitArgs) {
  return given({
    requests_per_minute: limitOf("--requests-per-minute", args["requests-per-minute"]),
    tokens_per_minute: limitOf("--tokens-per-minute", args["tokens-per-minute"]),
  });
}

/** A whole number, or null for `none`. @throws EdgeT5Error `E_USAGE` */
export function limitOf(option: string, value: string | undefined): number | null | undefined {
  if (value === undefined) return undefined;
  return value === "none" ? null : wholeNumber(option, value, 1, 1_000_000_000);
}

/** `a,b` → `["a", "b"]` @throws EdgeT5Error `E_USAGE` for an empty part */
export function listOf(option: string, value: string | undefined): string[] | undefined {
  if (value === undefined) return undefined;
  const parts = value.split(",").map((part) => part.trim());
  if (parts.includes("")) {
    throw new EdgeT5Error("E_USAGE", `${option} is ${JSON.stringify(value)}. Write A,B without empty parts.`);
  }
  return parts;
}

/** Without what is undefined; undefined where nothing is left. */
export function given(fields: Record<string, unknown>): Record<string, unknown> | undefined {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}
