/** Pairs of input and target, from files of rows. */
import { EdgeT5Error } from "../../errors.ts";
import { type ColumnsOfFile, type Pair, type PairFormat, PairMaker } from "./columns.ts";
import type { ReadOptions } from "./lines.ts";
import { Problems } from "./problems.ts";
import { type Problem, rowsOf } from "./rows.ts";

/** A pair, and the place of its row. */
export type PairOfRow = Pair & { where: string };

/** The files' pairs in their order, and what is wrong with the other rows. @throws EdgeT5Error `E_DATA_*` */
export async function* pairsOf(
  { files, ...format }: PairFormat & { files: readonly string[] },
  reading: ReadOptions = {},
): AsyncGenerator<PairOfRow | Problem, void, undefined> {
  const maker = new PairMaker(format);
  for (const file of files) {
    let columns: ColumnsOfFile | undefined;
    for await (const row of rowsOf(file, { ...reading, isHeader: (cells) => maker.isHeader(cells) })) {
      if ("code" in row) yield row;
      else {
        columns ??= maker.columnsOf(row);
        yield { ...maker.pairOf(row, columns), where: row.where };
      }
    }
  }
}

/**
 * All pairs of a file, for one that is small.
 *
 * @throws EdgeT5Error `E_DATA_*` naming file, line and reason of the first broken rows
 */
export async function readPairs(file: string, format: PairFormat = {}): Promise<Pair[]> {
  const pairs: Pair[] = [];
  const broken = new Problems();
  for await (const row of pairsOf({ ...format, files: [file] })) {
    if ("code" in row) broken.add(row);
    else pairs.push({ input: row.input, target: row.target });
  }
  broken.throwIfAny("Mend or drop these rows.");
  if (pairs.length > 0) return pairs;
  throw new EdgeT5Error("E_DATA_TOO_SMALL", `${file} has no rows. Give a line an input and its reference.`);
}
