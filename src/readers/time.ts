/** How reading ends when its time is over, or nobody waits for it. */
import { EdgeT5Error, isGivenUp } from "../errors.ts";

/** What reading ends with when its signal aborts. */
export function outOfTime({ reason }: AbortSignal): EdgeT5Error {
  if (reason instanceof EdgeT5Error) return reason;
  if (isGivenUp(reason)) return new EdgeT5Error("E_GIVEN_UP", "Who asked for this has left.", { cause: reason });
  return new EdgeT5Error(
    "E_TOO_LARGE",
    "Reading the file took longer than the time that it is given. Send fewer pages.",
    {
      cause: reason,
    },
  );
}
