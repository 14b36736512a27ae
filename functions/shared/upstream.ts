/** The Worker that holds the layers before this one's, where a stack is cut into a chain. */
import { EdgeT5Error } from "../../src/errors.ts";
import { errorOf } from "./error-of.ts";
import type { HalfBindings } from "./half.ts";

/** @throws EdgeT5Error what that Worker threw */
export async function callUpstream({ UPSTREAM }: HalfBindings, path: string, init: RequestInit): Promise<Response> {
  if (!UPSTREAM) {
    throw new EdgeT5Error(
      "E_INTERNAL",
      "This Worker holds later layers and has no UPSTREAM binding. Add it, or redeploy.",
    );
  }
  const response = await UPSTREAM.fetch(`http://upstream${path}`, { method: "POST", ...init });
  if (!response.ok) throw await errorOf(response, "Worker of the layers before");
  return response;
}
