/**
 * Limits on the wire: `RateLimit` and `RateLimit-Policy` (IETF draft-ietf-httpapi-ratelimit-headers), and OpenAI's
 * `x-ratelimit-*`.
 */
import { ApiError } from "../api-error.ts";
import type { Answer, Quota, Refusal } from "./meter.ts";

const WINDOW_S = 60;

export function limitHeaders({ requests, tokens, softBudgetReached }: Answer): Record<string, string> {
  const quotas = [["requests", requests] as const, ["tokens", tokens] as const].filter(
    (entry): entry is ["requests" | "tokens", Quota] => entry[1] !== null,
  );
  const headers: Record<string, string> = {};
  if (quotas.length > 0) {
    headers["ratelimit-policy"] = quotas.map(([name, { limit }]) => `"${name}";q=${limit};w=${WINDOW_S}`).join(", ");
    headers.ratelimit = quotas.map(([name, { remaining, reset }]) => `"${name}";r=${remaining};t=${reset}`).join(", ");
  }
  for (const [name, { limit, remaining, reset }] of quotas) {
    headers[`x-ratelimit-limit-${name}`] = String(limit);
    headers[`x-ratelimit-remaining-${name}`] = String(remaining);
    headers[`x-ratelimit-reset-${name}`] = `${reset}s`;
  }
  if (softBudgetReached) headers["x-edge-t5-budget"] = "soft";
  return headers;
}

const REFUSALS: Readonly<Record<Refusal, { status: number; code: string; why: string }>> = {
  requests: { status: 429, code: "rate_limit_exceeded", why: "This key's requests a minute are used up" },
  tokens: {
    status: 429,
    code: "rate_limit_exceeded",
    why: "This key's tokens a minute do not cover the input and the longest answer that this asks for",
  },
  concurrency: {
    status: 429,
    code: "concurrency_limit_exceeded",
    why: "As many requests as may run at once are running",
  },
  budget: { status: 402, code: "budget_exceeded", why: "This month's budget does not cover this request" },
};

/** @param tokens the most that the request can take */
export function refusalOf(answer: Answer, tokens: number): ApiError | null {
  if (!answer.refused) return null;
  const { status, code, why } = REFUSALS[answer.refused];
  const never = answer.refused === "tokens" && tokens > (answer.tokens?.limit ?? Number.POSITIVE_INFINITY);
  const fix = never
    ? `It asks for up to ${tokens}, of ${answer.tokens?.limit} a minute: lower max_tokens, shorten the input, or use another key.`
    : answer.refused === "budget" && answer.retryAfter > 1
      ? "Raise it, or wait for the next month."
      : `Try again in ${answer.retryAfter} seconds.`;
  return new ApiError(status, code, `${why}. ${fix}`, {
    retryAfter: Math.max(1, answer.retryAfter),
    headers: limitHeaders(answer),
  });
}
