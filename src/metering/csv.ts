/** CSV (RFC 4180), streamed. Cells that a spreadsheet would run as a formula are made text (csv-stringify's rule). */
import { stringify } from "csv-stringify/sync";

export type CsvCell = string | number | null;

/**
 * @param columns header
 * @param pages rows, some at a time; the next ones are asked for when the reader wants them
 */
export function csvStream(
  columns: readonly string[],
  pages: AsyncIterator<readonly (readonly CsvCell[])[]>,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const lines = (rows: readonly (readonly CsvCell[])[]) =>
    encoder.encode(stringify([...rows], { escape_formulas: true, record_delimiter: "windows" }));
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        controller.enqueue(lines([columns]));
      },
      async pull(controller) {
        for (;;) {
          const { done, value } = await pages.next();
          if (done) return controller.close();
          if (value.length > 0) return controller.enqueue(lines(value));
        }
      },
      async cancel() {
        await pages.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
