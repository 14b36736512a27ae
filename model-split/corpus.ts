/** The texts of a corpus: lines of a text, columns of a TSV, strings of JSON lines; gzipped or not. */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { createGunzip } from "node:zlib";
import { EdgeT5Error } from "../src/errors.ts";

/** @throws EdgeT5Error `E_INPUT` naming file and line; `E_IO` from the operating system */
export async function* textsOf(path: string): AsyncGenerator<string, void, undefined> {
  const file = createReadStream(path);
  const isGzip = path.endsWith(".gz");
  const input = isGzip ? file.pipe(createGunzip()) : file;
  // What the file throws does not pass through the pipe.
  if (isGzip) file.on("error", (error) => input.destroy(error));
  const kind = /\.(tsv|jsonl|ndjson)(\.gz)?$/.exec(path)?.[1] ?? "txt";
  let number = 0;
  try {
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      number++;
      if (kind === "txt") yield line;
      else if (kind === "tsv") yield* line.split("\t");
      else if (line !== "") yield* stringsOf(parse(line, `${path}:${number}`));
    }
  } catch (cause) {
    if (!String((cause as NodeJS.ErrnoException).code).startsWith("Z_")) throw cause;
    throw new EdgeT5Error("E_INPUT", `${path} is not a whole gzip file. Download it again.`, { cause });
  }
}

function parse(line: string, where: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new EdgeT5Error("E_INPUT", `${where} is not JSON. A line of a .jsonl file is one value.`, { cause });
  }
}

function* stringsOf(value: unknown): Generator<string, void, undefined> {
  if (typeof value === "string") yield value;
  else if (value && typeof value === "object") for (const each of Object.values(value)) yield* stringsOf(each);
}
