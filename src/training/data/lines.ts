/** Lines of a text file, gzipped or not: streamed, in strict UTF-8. */
import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import { EdgeT5Error } from "../../errors.ts";

export interface Line {
  text: string;
  /** From 1 on. */
  number: number;
}

/** No line that a person means is longer; a file without line ends would fill the memory. */
const LONGEST_LINE = 16 * 2 ** 20;
const NEWLINE = 10;

export interface ReadOptions {
  /** @param bytes of the file that were read since the last call, gzipped as they are */
  onBytes?: ((bytes: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * @throws EdgeT5Error `E_DATA_ENCODING` for a line that is no UTF-8, `E_DATA_FILE` for one that never ends and for a gzip
 * file that is damaged; the operating system's errors; the signal's reason
 */
export async function* linesOf(
  path: string,
  { onBytes, signal }: ReadOptions = {},
): AsyncGenerator<Line, void, undefined> {
  const file = createReadStream(path, { highWaterMark: 2 ** 18 });
  if (onBytes) file.on("data", (chunk) => onBytes(chunk.length));
  const isGzip = path.endsWith(".gz");
  const input = isGzip ? file.pipe(createGunzip()) : file;
  // What the file throws does not pass through the pipe.
  if (isGzip) file.on("error", (error) => input.destroy(error));
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let number = 0;
  const decode = (bytes: Uint8Array): Line => {
    number++;
    try {
      const text = decoder.decode(bytes);
      return { text: text.endsWith("\r") ? text.slice(0, -1) : text, number };
    } catch (cause) {
      const message = `${path}:${number} is not UTF-8. Convert the file: iconv -f LATIN1 -t UTF-8.`;
      throw new EdgeT5Error("E_DATA_ENCODING", message, { cause });
    }
  };
  try {
    let begun: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of input as AsyncIterable<Buffer>) {
      signal?.throwIfAborted();
      let from = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
        const rest = chunk.subarray(from, end);
        yield decode(begun.length > 0 ? Buffer.concat([...begun, rest]) : rest);
        begun = [];
        length = 0;
        from = end + 1;
      }
      if (from === chunk.length) continue;
      begun.push(chunk.subarray(from));
      length += chunk.length - from;
      if (length > LONGEST_LINE) {
        throw new EdgeT5Error(
          "E_DATA_FILE",
          `${path}:${number + 1} is longer than ${LONGEST_LINE / 2 ** 20} MB. Put one text, or one JSON object, on a line.`,
        );
      }
    }
    if (begun.length > 0) yield decode(Buffer.concat(begun));
  } catch (cause) {
    if (!String((cause as NodeJS.ErrnoException).code).startsWith("Z_")) throw cause;
    throw new EdgeT5Error("E_DATA_FILE", `${path} is not a whole gzip file. Download it again.`, { cause });
  } finally {
    file.destroy();
  }
}

/** What a file is, by its name, `.gz` left aside. */
export type FileKind = "text" | "jsonl" | "csv" | "tsv";

export function kindOf(path: string): FileKind {
  const extension = /\.([^./]+)(\.gz)?$/.exec(path.toLowerCase())?.[1];
  if (extension === "jsonl" || extension === "ndjson") return "jsonl";
  return extension === "csv" || extension === "tsv" ? extension : "text";
}
