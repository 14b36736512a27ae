/** The error that a private Worker answered with, as it was thrown there. */
import { parseErrorBody } from "../../src/api/token-stream.ts";
import { EdgeT5Error } from "../../src/errors.ts";

/** @param who for the message, should the answer not be one of ours */
export async function errorOf(response: Response, who: string): Promise<Error> {
  const text = await response.text();
  try {
    const error = parseErrorBody(JSON.parse(text));
    if (error) return error;
  } catch {
    // Not ours: what stands in for a Worker that cannot answer.
  }
  return new EdgeT5Error("E_INTERNAL", `The ${who} answered ${response.status}: ${text.slice(0, 200)}`);
}
