/** Texts of a request, one or a list: what is refused of them alike in every shape of request. */
import { ApiError } from "../api-error.ts";

/** Most prompts of one request. */
export const MAX_PROMPTS = 32;

/**
 * Of what may be a text or a list of them; what is neither is a schema's matter.
 *
 * @param param the field that it stands in
 * @throws ApiError 400 `empty_prompt` for no text, and one without a character to be seen; `invalid_value` for too many
 */
export function checkPrompts(given: unknown, param: string): void {
  const refuse = (code: string, message: string, at = param) => new ApiError(400, code, message, { param: at });
  const empty = (at: string) => refuse("empty_prompt", `${at} is empty. Give it a text.`, at);
  if (isBlank(given)) throw empty(param);
  if (!Array.isArray(given)) return;
  if (given.length === 0) throw refuse("empty_prompt", `${param} is an empty list. Give it 1 to ${MAX_PROMPTS} texts.`);
  if (given.length > MAX_PROMPTS) {
    throw refuse(
      "invalid_value",
      `${param} has ${given.length} texts; a request takes up to ${MAX_PROMPTS}. Send several requests, or all of them as rows of a batch: POST /v1/batches.`,
    );
  }
  const blank = given.findIndex(isBlank);
  if (blank >= 0) throw empty(given.length > 1 ? `${param}.${blank}` : param);
}

function isBlank(value: unknown): boolean {
  return typeof value === "string" && value.trim() === "";
}
