/** Rows of pixels out of deflated data: each is there only until the next is made. */
import { inflated } from "../inflate.ts";

/**
 * @param parts of one zlib stream
 * @yields the same array each time
 * @throws Error for data that is none
 */
export function* inflatedRows(parts: readonly Uint8Array[], rowBytes: number): Generator<Uint8Array, void, undefined> {
  const row = new Uint8Array(rowBytes);
  let filled = 0;
  for (const piece of inflated(parts)) {
    for (let at = 0; at < piece.length; ) {
      const taken = piece.subarray(at, at + rowBytes - filled);
      row.set(taken, filled);
      filled += taken.length;
      at += taken.length;
      if (filled < rowBytes) break;
      yield row;
      filled = 0;
    }
  }
}
