/** The tables of a sheet: where one ends and another begins, which rows name its columns, what its merged cells say. */
import type { Meter } from "./meter.ts";
import { isYear, joinedHeader, shownHeader } from "./table-rows.ts";

/** Cells of one row that hold something, by their places from 1 on, in order: three lists of one length. */
export interface SparseRow {
  row: number;
  /** Place of the last hidden row with cells above it; 0 for none. */
  lastHidden: number;
  columns: number[];
  texts: string[];
  /** Whether the cell holds words, and neither number, date nor truth value. */
  isWords: boolean[];
}

export interface Area {
  top: number;
  left: number;
  bottom: number;
  right: number;
}

/** Of what is not hidden. */
export interface SheetCells {
  readonly rows: SparseRow[];
  readonly merges: Area[];
  /** Places of hidden columns. */
  readonly hidden: ReadonlySet<number>;
}

export interface SheetTable {
  /** Place of its first row, a title's among them. */
  top: number;
  /** Place of its first column, where it stands beside another; else null. */
  left: number | null;
  /** Place of the column from which on it may be another table; null where it is surely one. */
  mayBeTwo: number | null;
  /** What stands above it. */
  heading: readonly string[];
  /** Dense, without empty rows and columns; its header is one row. */
  rows: readonly (readonly string[])[];
  /** Its header, with the text of a cell that is merged over columns in the first alone. */
  shown?: readonly string[];
  /** Places of the rows that its header is made of; two that are the same for one row. */
  header: { first: number; last: number };
  /** Whether the row below looks like one of them. */
  isDoubtful: boolean;
}

/** People write no more above a table. */
const MOST_TITLE_ROWS = 10;
const MOST_HEADER_ROWS = 4;
/** By so many rows below is told whether a row is their header. */
const ROWS_LOOKED_AT = 20;
const LOOKED_AT = MOST_HEADER_ROWS + ROWS_LOOKED_AT;

type AreasByTop = ReadonlyMap<number, readonly Area[]>;

/**
 * A table ends at an empty row where a header follows: words above numbers, the same names once more, or columns that the
 * table above has not. It ends at an empty column where what follows has a header and a first column of names of its own,
 * and other rows than what is before. A merged cell's value stands in every row that it covers (a row that is read alone must say what
 * holds for it), and in every column of the header; in the rows below, in its first column only: a sum that is merged over
 * two columns is one.
 *
 * @param hasHeader else all is one table, without title and header
 */
export function tablesOfSheet({ rows, merges, hidden }: SheetCells, hasHeader: boolean, meter: Meter): SheetTable[] {
  const areas = byTop(merges);
  if (!hasHeader) {
    const header = { first: 0, last: 0 };
    const dense = denseRows(rows, 0, areas, meter).rows;
    return [{ top: 0, left: null, mayBeTwo: null, heading: [], rows: dense, header, isDoubtful: false }];
  }
  const parts = splitRows(rows, areas).flatMap((own) => splitColumns(own, areas, hidden));
  return parts.map(({ rows: own, left, mayBeTwo }) => {
    const { title, depth, isDoubtful } = headerOf(own, areas);
    const table = own.slice(title);
    const { rows: dense, head } = denseRows(table, depth, areas, meter);
    const names = depth > 1 ? joinedHeader(dense.slice(0, depth)) : dense[0]!;
    return {
      top: own[0]!.row,
      left,
      mayBeTwo,
      heading: own.slice(0, title).map(({ texts }) => texts[0]!.trim()),
      rows: [names, ...dense.slice(depth)],
      shown: shownHeader(names, head),
      header: { first: table[0]!.row, last: table[depth - 1]!.row },
      isDoubtful,
    };
  });
}

function byTop(merges: readonly Area[]): AreasByTop {
  const areas = new Map<number, Area[]>();
  for (const area of merges) {
    const known = areas.get(area.top);
    if (known) known.push(area);
    else areas.set(area.top, [area]);
  }
  return areas;
}

/** A table so far. */
interface Open {
  rows: SparseRow[];
  left: number;
  right: number;
  /** The texts of the first row of several cells, and how many of those there are. */
  names: readonly string[] | undefined;
  wide: number;
}

function splitRows(rows: readonly SparseRow[], areas: AreasByTop): SparseRow[][] {
  const tables: Open[] = [];
  // Rows of one cell each, between empty ones: a title of what follows, if that is a table.
  let held: SparseRow[] = [];
  for (const group of groupsOf(rows, areas)) {
    const isTitle = tables.length > 0 && group.length <= MOST_TITLE_ROWS && group.every(isNarrow);
    if (isTitle) {
      held.push(...group);
      continue;
    }
    const last = tables.at(-1);
    if (!last || (last.wide > 1 && beginsTable(group, last))) tables.push(opened());
    for (const row of [...held, ...group]) add(row, tables.at(-1)!);
    held = [];
  }
  for (const row of held) add(row, tables.at(-1)!);
  return tables.map((table) => table.rows);
}

/** Rows without an empty one between them that no merged cell covers. */
function* groupsOf(rows: readonly SparseRow[], areas: AreasByTop): Generator<SparseRow[]> {
  let group: SparseRow[] = [];
  let covered = 0;
  for (const row of rows) {
    if (group.length > 0 && row.row > Math.max(covered, row.lastHidden, group.at(-1)!.row) + 1) {
      yield group;
      group = [];
    }
    group.push(row);
    for (const { bottom } of areas.get(row.row) ?? []) covered = Math.max(covered, bottom);
  }
  if (group.length > 0) yield group;
}

interface Part {
  rows: readonly SparseRow[];
  left: number | null;
  mayBeTwo: number | null;
}

/** More gaps are no tables side by side. */
const MOST_BESIDE = 10;

/** Tables side by side. */
function splitColumns(rows: readonly SparseRow[], areas: AreasByTop, hidden: ReadonlySet<number>): Part[] {
  const whole: Part = { rows, left: null, mayBeTwo: null };
  const starts = startsAfterGaps(rows, hidden);
  if (starts.length === 0 || starts.length >= MOST_BESIDE || rows.some((row) => isJoined(row, areas, starts))) {
    return [whole];
  }
  const parts = [0, ...starts].map((start, i): Part => {
    const end = starts[i] ?? Number.POSITIVE_INFINITY;
    return { rows: rows.flatMap((row) => within(row, start, end)), left: i === 0 ? null : start, mayBeTwo: null };
  });
  const heads = parts.map(({ rows }) => headOfOwn(rows));
  if (heads.some((row) => row === null || row !== heads[0])) return [whole];
  const ends = new Set(parts.map(({ rows }) => rows.at(-1)!.row));
  return ends.size > 1 ? parts : [{ ...whole, mayBeTwo: starts[0]! }];
}

/** Columns before which one is empty that is not hidden. */
function startsAfterGaps(rows: readonly SparseRow[], hidden: ReadonlySet<number>): number[] {
  const used = new Set<number>();
  for (const { columns } of rows) for (const column of columns) used.add(column);
  const columns = [...used].sort((a, b) => a - b);
  return columns.filter((column, i) => {
    let before = column - 1;
    while (hidden.has(before)) before--;
    return i > 0 && before > columns[i - 1]!;
  });
}

/** Whether one of its cells is merged over a gap. */
function isJoined({ row }: SparseRow, areas: AreasByTop, starts: readonly number[]): boolean {
  return (areas.get(row) ?? []).some(
    ({ left, right }) => (starts[firstAt(starts, left + 1)] ?? right + 2) <= right + 1,
  );
}

function within(row: SparseRow, start: number, end: number): SparseRow[] {
  const places = row.columns.flatMap((column, i) => (column >= start && column < end ? [i] : []));
  if (places.length === 0) return [];
  return [
    {
      ...row,
      columns: places.map((i) => row.columns[i]!),
      texts: places.map((i) => row.texts[i]!),
      isWords: places.map((i) => row.isWords[i]!),
    },
  ];
}

/** Place of the header; null where that is none, or no names are in the column below its first cell. */
function headOfOwn(rows: readonly SparseRow[]): number | null {
  const at = rows.slice(0, MOST_TITLE_ROWS + 1).findIndex((row) => !isNarrow(row));
  const head = rows[at];
  const below = rows.slice(at + 1, at + 1 + ROWS_LOOKED_AT);
  if (!head || !isHeader(head, below)) return null;
  const named = below.filter(({ columns, isWords }) => columns[0] === head.columns[0] && isWords[0]);
  return named.length * 2 > below.length ? head.row : null;
}

function opened(): Open {
  return { rows: [], left: Number.POSITIVE_INFINITY, right: 0, names: undefined, wide: 0 };
}

function add(row: SparseRow, table: Open): void {
  table.rows.push(row);
  if (isNarrow(row)) return;
  table.left = Math.min(table.left, row.columns[0]!);
  table.right = Math.max(table.right, row.columns.at(-1)!);
  table.names ??= row.texts;
  table.wide++;
}

function isNarrow({ columns }: SparseRow): boolean {
  return columns.length === 1;
}

function beginsTable(group: readonly SparseRow[], { left, right, names = [] }: Open): boolean {
  const at = group.slice(0, MOST_TITLE_ROWS + 1).findIndex((row) => !isNarrow(row));
  const head = group[at];
  if (!head || at + 1 === group.length) return false;
  if (head.texts.length === names.length && head.texts.every((text, i) => text === names[i])) return true;
  const wide = group.slice(at).filter((row) => !isNarrow(row));
  if (wide.length > 1 && wide.every(({ columns }) => columns[0]! > right || columns.at(-1)! < left)) return true;
  return isHeader(head, group.slice(at + 1, at + 1 + ROWS_LOOKED_AT));
}

/** Words, and years, above something else. */
function isHeader(head: SparseRow, below: readonly SparseRow[]): boolean {
  if (!head.texts.every((_, i) => isName(head, i)) || !head.isWords.some(Boolean)) return false;
  const places = new Map(head.columns.map((column, i) => [column, i]));
  return below.some(({ columns, texts, isWords }) =>
    columns.some((column, i) => {
      const above = places.get(column);
      return above !== undefined && !isWords[i] && (head.isWords[above] || !isYear(texts[i]!));
    }),
  );
}

function isName({ texts, isWords }: SparseRow, i: number): boolean {
  return isWords[i]! || isYear(texts[i]!);
}

/** How many rows are a title, and how many after them name columns. */
function headerOf(
  rows: readonly SparseRow[],
  areas: AreasByTop,
): { title: number; depth: number; isDoubtful: boolean } {
  const title = Math.max(
    0,
    rows.slice(0, MOST_TITLE_ROWS + 1).findIndex((row) => !isNarrow(row)),
  );
  // One name above several columns, though not above the first, is none of the whole table.
  const [above, first] = [rows[title - 1], rows[title]];
  const isOfColumns = (areas.get(above?.row ?? 0) ?? []).some(
    ({ left, right }) => left > first!.columns[0]! && right >= first!.columns.at(-1)!,
  );
  if (isOfColumns) {
    const header = headerDepth(rows.slice(title - 1, title + LOOKED_AT), areas);
    if (header.depth > 1) return { title: title - 1, ...header };
  }
  return { title, ...headerDepth(rows.slice(title, title + LOOKED_AT), areas) };
}

/** A header has another row where a cell is merged over several of that row's. */
function headerDepth(rows: readonly SparseRow[], areas: AreasByTop): { depth: number; isDoubtful: boolean } {
  let depth = 1;
  for (; depth < MOST_HEADER_ROWS; depth++) {
    const [above, row] = [rows[depth - 1]!, rows[depth]];
    if (row?.row !== above.row + 1 || !row.texts.every((_, i) => isName(row, i))) break;
    const below = rows.slice(depth + 1, depth + 1 + ROWS_LOOKED_AT);
    const own = areas.get(above.row) ?? [];
    const spans = own.filter(({ left, right, bottom }) => bottom === above.row && cellsIn(row, left, right) > 1);
    if (spans.length === 0) {
      const isWider = row.columns.some((column) => !above.columns.includes(column));
      return { depth, isDoubtful: depth === 1 && isWider && isHeader(row, below) };
    }
    const isOutside = (column: number) => !spans.some(({ left, right }) => column >= left && column <= right);
    const isBeside = above.columns.some(isOutside) && !row.columns.some(isOutside);
    const isHigh = own.some(({ bottom }) => bottom >= row.row);
    if (!isBeside && !isHigh && !isHeader(row, below)) return { depth, isDoubtful: true };
  }
  return { depth, isDoubtful: false };
}

function cellsIn({ columns }: SparseRow, left: number, right: number): number {
  return columns.filter((column) => column >= left && column <= right).length;
}

/**
 * Rows of equal length; and the header's, with the text of a cell that is merged over columns in the first alone.
 *
 * @param depth how many of them are the header
 */
function denseRows(
  sparse: readonly SparseRow[],
  depth: number,
  areas: AreasByTop,
  meter: Meter,
): { rows: string[][]; head: string[][] } {
  const used = new Set<number>();
  for (const row of sparse) for (const column of row.columns) used.add(column);
  const columns = [...used].sort((a, b) => a - b);
  meter.cells(sparse.length * columns.length - sparse.reduce((sum, row) => sum + row.columns.length, 0));
  const index = new Map(columns.map((column, i) => [column, i]));
  const rows = sparse.map((row) => {
    const cells = Array<string>(columns.length).fill("");
    row.columns.forEach((column, i) => {
      cells[index.get(column)!] = row.texts[i]!;
    });
    return cells;
  });
  const head = rows.slice(0, depth).map((cells) => [...cells]);
  const numbers = sparse.map(({ row }) => row);
  for (const [firstRow, top] of numbers.entries()) {
    for (const { left, bottom, right } of areas.get(top) ?? []) {
      const firstColumn = firstAt(columns, left);
      // Its value stands in its first cell; the file may hold more beneath, which does not show.
      const text = columns[firstColumn] === left ? rows[firstRow]![firstColumn]! : "";
      if (text === "") continue;
      for (let r = firstRow; r < rows.length && numbers[r]! <= bottom; r++) {
        for (let c = firstColumn; c < columns.length && columns[c]! <= right; c++) {
          const own = r < depth || c === firstColumn ? text : "";
          meter.cells(1);
          meter.characters(own.length);
          rows[r]![c] = own;
          if (r < depth) head[r]![c] = c === firstColumn ? text : "";
        }
      }
    }
  }
  return { rows, head };
}

/** Of sorted numbers, where the first that is no less stands. */
function firstAt(numbers: readonly number[], least: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle]! < least) low = middle + 1;
    else high = middle;
  }
  return low;
}
