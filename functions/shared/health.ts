/** A private Worker's `GET /healthz`, as the Worker that is bound to it asks: nothing is loaded for the answer. */
import { EdgeT5Error } from "../../src/errors.ts";
import { errorOf } from "./error-of.ts";

/** @throws EdgeT5Error what it threw; `E_INTERNAL` where it does not answer */
export async function healthOf(worker: Fetcher, name: string): Promise<object> {
  const asked = worker.fetch(`http://${name}/healthz`);
  const response = await asked.catch((cause: unknown) => {
    throw new EdgeT5Error("E_INTERNAL", `The ${name} Worker does not answer. Look at its log: npx wrangler tail.`, {
      cause,
    });
  });
  if (!response.ok) throw await errorOf(response, `${name} Worker`);
  return response.json<object>();
}
