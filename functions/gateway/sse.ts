/** Streams for clients. */
import { toApiError } from "../../src/api-error.ts";

/**
 * Server-sent events, `[DONE]` last; an error is the last event. An event is made when it is pulled: one stream from the
 * decoder's line to the client's socket, since in workerd each one between costs as much as a token's detokenizing.
 *
 * @param onGone called when the client goes away, also before it has read anything: `events` never began then, and its
 * `finally` does not run
 */
export function eventStream(
  events: AsyncGenerator<object, void, undefined>,
  onGone: () => unknown,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const line = (data: string) => encoder.encode(`data: ${data}\n\n`);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await events.next();
          if (!done) return controller.enqueue(line(JSON.stringify(value)));
          controller.enqueue(line("[DONE]"));
        } catch (error) {
          controller.enqueue(line(JSON.stringify(toApiError(error).body())));
        }
        controller.close();
      },
      async cancel() {
        await onGone();
        await events.return();
      },
    },
    { highWaterMark: 0 },
  );
}
