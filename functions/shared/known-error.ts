/** What goes wrong in a private Worker, as an error that it answers with. */
import { EdgeT5Error, isGivenUp } from "../../src/errors.ts";
import { errorFields, log } from "../../src/observability/log.ts";

/** One of our errors as it is; anything else as a defect, with its details in the log only; but for who has left. */
export function toEdgeT5Error(error: unknown, requestId: string): EdgeT5Error {
  if (error instanceof EdgeT5Error) return error;
  if (isGivenUp(error)) return new EdgeT5Error("E_GIVEN_UP", "Who asked for this has left.", { cause: error });
  log("error", "defect", { request_id: requestId, error: errorFields(error) });
  return new EdgeT5Error("E_INTERNAL", "A defect of edge-t5.", { cause: error });
}
