/** Server-sent events of a body, as far as the API sends them. */

/** The data of each event, however the network cuts the bytes; an event without its end is none. */
export async function* eventData(body: ReadableStream<BufferSource>): AsyncGenerator<string, void, undefined> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + value).split(/\r?\n\r?\n/);
      rest = events.pop() ?? "";
      for (const event of events) {
        const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (data.length > 0) yield data.map((line) => line.slice("data:".length).replace(/^ /, "")).join("\n");
      }
    }
  } finally {
    // Rejects where the connection was lost, which `read` has told.
    await reader.cancel().catch(() => {});
  }
}
