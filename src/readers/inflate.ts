/**
 * Deflated data, a piece at a time. Not by the runtime's decompressor: workerd's inflates all that it is given before the
 * first piece is asked for, a gigabyte out of a megabyte.
 */
import { Inflate } from "pako";

/** Of packed bytes, at once: they make four megabytes at most. */
const FED = 4096;

export interface InflateOptions {
  /** Without zlib's header and checksum. */
  readonly isRaw?: boolean;
}

/**
 * @param parts of one zlib stream; what follows its end is passed over
 * @throws Error for data that is none; nothing for data that is cut
 */
export function* inflated(
  parts: readonly Uint8Array[],
  { isRaw = false }: InflateOptions = {},
): Generator<Uint8Array, void, undefined> {
  const inflate = new Inflate({ raw: isRaw });
  let made: Uint8Array[] = [];
  inflate.onData = (piece) => {
    made.push(piece as Uint8Array);
  };
  inflate.onEnd = () => {};
  for (const part of parts) {
    for (let at = 0; at < part.length; at += FED) {
      inflate.push(part.subarray(at, at + FED), false);
      yield* made;
      made = [];
      if (inflate.err !== 0) throw new Error(inflate.msg || `zlib's error ${inflate.err}`);
      if (inflate.ended) return;
    }
  }
}
