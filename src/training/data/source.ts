/** What was prepared from, and where in it a run stands. */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import * as z from "zod";
import { EdgeT5Error } from "../../errors.ts";
import type { Tokenizer } from "../../t5/tokenizer.ts";
import type { Json } from "../example.ts";

/** The parts of a tokenizer that data needs. */
export type DataTokenizer = Pick<Tokenizer, "encode" | "nameOf">;

/**
 * Names files, as they are now, options and vocabulary: what was prepared from the same is used again.
 *
 * @returns the name, and the bytes of all files
 * @throws EdgeT5Error `E_DATA_FILE` for a file that is not there; the operating system's errors
 */
export async function describeSource(
  files: readonly string[],
  options: Json,
  tokenizer: DataTokenizer,
  vocabSize: number,
): Promise<{ source: string; bytes: number }> {
  const hash = createHash("sha256").update(JSON.stringify(options));
  let bytes = 0;
  for (const file of files) {
    const { size, mtimeMs } = await stat(file).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== "ENOENT") throw cause;
      throw new EdgeT5Error("E_DATA_FILE", `There is no file ${file}. Name one that is there.`, { cause });
    });
    bytes += size;
    hash.update(JSON.stringify([file, size, mtimeMs]));
  }
  for (let id = 0; id < vocabSize; id++) hash.update(`${tokenizer.nameOf(id)}\n`);
  return { source: hash.digest("hex"), bytes };
}

/** @throws EdgeT5Error `E_DATA_CHANGED` for a position in other data, or that is none */
export function parsePosition<Position extends { data: string }>(
  schema: z.ZodType<Position>,
  position: Json,
  content: string,
): Position {
  const parsed = schema.safeParse(position);
  if (parsed.success && parsed.data.data === content) return parsed.data;
  throw new EdgeT5Error(
    "E_DATA_CHANGED",
    parsed.success
      ? "The data, its options or its tokenizer are not those that the run began with: it cannot be resumed. Put them back, or begin a new run."
      : "The run's place in its data cannot be read: it was written by another version, or for another kind of data. Begin a new run.",
  );
}

export const wholeNumber = z.int().min(0);
