/** A page of a PDF holds pieces of text at places: here they become lines, and lines go in reading order, column by column. */

/** A run of text on one baseline. Units are points, from the page's upper left corner as it is shown. */
export interface Fragment {
  text: string;
  left: number;
  right: number;
  /** Of its baseline. */
  y: number;
  /** Of its font. */
  size: number;
  font: string;
}

export interface Line extends Fragment {
  /** The column's edges, for indents and lines that end early. */
  columnLeft: number;
  columnRight: number;
}

/** Wider gaps, in font sizes, part what stands beside each other. */
const WIDE_GAP = 1.2;
const WORD_GAP = 0.15;
/** Of a column's width that its lines fill, in the middle: cells of a table fill less. */
const FILLED = 0.5;
const LEAST_LINES = 4;
/** Of all lines, those that may reach over the gap between columns: titles, wide figures' captions. */
const MOST_ACROSS = 0.3;

/** Pieces as the file has them, put together where they stand on one line without a wide gap. */
export function fragmentsOf(pieces: readonly Fragment[]): Fragment[] {
  const fragments: Fragment[] = [];
  let last: Fragment | undefined;
  let ended = "";
  for (const piece of pieces) {
    if (piece.text.trim() === "") continue;
    const gap = last ? piece.left - last.right : 0;
    const size = Math.max(piece.size, last?.size ?? 0);
    const isSameLine = last && Math.abs(piece.y - last.y) < size * 0.45 && gap > -size * 0.5 && gap < size * WIDE_GAP;
    if (last && isSameLine) {
      const space = gap > size * WORD_GAP && !/\s$/.test(ended) && !/^\s/.test(piece.text) ? " " : "";
      // A superscript is not the line's size.
      if (piece.size > last.size) Object.assign(last, { size: piece.size, y: piece.y, font: piece.font });
      last.text += space + piece.text;
      last.right = Math.max(last.right, piece.right);
    } else {
      last = { ...piece };
      fragments.push(last);
    }
    ended = piece.text.slice(-1);
  }
  return fragments;
}

/**
 * In reading order: a column before the one to its right, what reaches over both between what is above and below it. Where
 * the whole has no columns, its bands between gaps are looked at each for itself: columns may stand below a table.
 */
export function readingOrder(fragments: readonly Fragment[]): Line[] {
  return inColumns(fragments, 0);
}

function inColumns(fragments: readonly Fragment[], depth: number): Line[] {
  const gutter = depth < MOST_COLUMNS ? gutterOf(fragments) : null;
  if (gutter !== null) return besideGutter(fragments, gutter, depth);
  const lines: Line[] = [];
  const edges = edgesOf(fragments);
  let plain: Fragment[] = [];
  for (const band of depth < MOST_COLUMNS ? bandsOf(fragments) : []) {
    if (band.gutter === null) {
      plain.push(...band.fragments);
    } else {
      lines.push(...linesOf(plain, edges), ...besideGutter(band.fragments, band.gutter, depth));
      plain = [];
    }
  }
  return lines.length === 0 ? linesOf(fragments, edges) : [...lines, ...linesOf(plain, edges)];
}

function besideGutter(fragments: readonly Fragment[], gutter: number, depth: number): Line[] {
  const across = fragments.filter(({ left, right }) => left < gutter && right > gutter).sort((a, b) => a.y - b.y);
  const beside = fragments.filter(({ left, right }) => left >= gutter || right <= gutter);
  const lines: Line[] = [];
  let top = Number.NEGATIVE_INFINITY;
  for (const end of [...across, null]) {
    const bottom = end?.y ?? Number.POSITIVE_INFINITY;
    const band = beside.filter(({ y }) => y >= top && y < bottom);
    const right = band.filter(({ right }) => right > gutter);
    const [left, below] = endedTogether(
      band.filter(({ right }) => right <= gutter),
      right,
    );
    lines.push(...inColumns(left, depth + 1), ...inColumns(right, depth + 1), ...inColumns(below, depth + 1));
    if (end) lines.push(...linesOf([end]));
    top = bottom;
  }
  return lines;
}

/** A left column, and what stands below both: where the columns end at one height, and only then a gap comes. */
function endedTogether(left: readonly Fragment[], right: readonly Fragment[]): [column: Fragment[], below: Fragment[]] {
  const sorted = [...left].sort((a, b) => a.y - b.y);
  const end = right.reduce((most, { y }) => Math.max(most, y), Number.NEGATIVE_INFINITY);
  const first = sorted.findIndex(({ y, size }, i) => {
    const before = sorted[i - 1];
    return before && y - before.y > size * WIDE_STEP && y > end && before.y < end + size * WIDE_STEP;
  });
  return first < 1 ? [sorted, []] : [sorted.slice(0, first), sorted.slice(first)];
}

/** From one baseline to the next, in font sizes: more than between paragraphs. */
const WIDE_STEP = 2.2;
/** From one baseline to the next, in font sizes, where a page may be cut: more than between most lines. */
const LEAST_CUT = 1.4;
/** Of the widest gap, those that part what that one parts. */
const AS_WIDE = 0.95;
const MOST_CUTS = 8;

interface Band {
  fragments: readonly Fragment[];
  gutter: number | null;
}

/** From top to bottom, cut at the widest gaps first, until what is left has columns or no more gaps. */
function bandsOf(fragments: readonly Fragment[], cuts = 0): Band[] {
  if (cuts > 0) {
    const gutter = gutterOf(fragments, isWrapped);
    if (gutter !== null) return [{ fragments, gutter }];
  }
  const isSmall = fragments.length < LEAST_LINES * 2 || fragments.length > MOST_FRAGMENTS;
  const parts = isSmall || cuts === MOST_CUTS ? [fragments] : cutAtGaps(fragments);
  if (parts.length === 1) return [{ fragments, gutter: null }];
  return parts.flatMap((part) => bandsOf(part, cuts + 1));
}

function cutAtGaps(fragments: readonly Fragment[]): Fragment[][] {
  const sorted = [...fragments].sort((a, b) => a.y - b.y);
  const steps = sorted.map(({ y, size }, i) => {
    const before = sorted[i - 1];
    const step = before ? y - before.y : 0;
    return before && step > Math.max(size, before.size) * LEAST_CUT ? step : 0;
  });
  const widest = steps.reduce((most, step) => Math.max(most, step), 0);
  const parts: Fragment[][] = [[]];
  for (const [i, fragment] of sorted.entries()) {
    if (steps[i]! > 0 && steps[i]! >= widest * AS_WIDE) parts.push([]);
    parts.at(-1)!.push(fragment);
  }
  return parts;
}

/** Of a side's lines, those that end where the next one's first word has no room: a table's cells end anywhere. */
const WRAPPED_SHARE = 0.5;

function isWrapped(side: readonly Fragment[]): boolean {
  const lines = linesOf(side);
  const wrapped = lines.slice(1).filter((line, i) => !hadRoom(lines[i]!, line));
  return wrapped.length >= (lines.length - 1) * WRAPPED_SHARE;
}

/** Characters that a word may be wider than most by. */
const TOLERANCE = 1.5;
/** Of a column's width that there must be, where words are not told apart. */
const ROOM = 0.15;

/** Whether a line's first word would have stood on the one before, in its column. */
export function hadRoom(before: Line, line: Line): boolean {
  const character = (line.right - line.left) / line.text.length;
  const isWithoutSpaces = /^\s*\p{Lo}/u.test(line.text);
  const word = (1 + line.text.trim().search(/\s|$/) + TOLERANCE) * character;
  const needed = isWithoutSpaces ? ROOM * (before.columnRight - before.columnLeft) : word;
  return before.right + needed < before.columnRight;
}

const MOST_COLUMNS = 3;
/** Of a page that columns are looked for on: a drawing's labels may be more. */
const MOST_FRAGMENTS = 4000;
/** Places that are looked at. */
const MOST_STEPS = 400;

type SideTest = (side: readonly Fragment[]) => boolean;

/**
 * A place between two columns of running text; null where there is none.
 *
 * @param isText what the columns must be, besides
 */
function gutterOf(fragments: readonly Fragment[], isText: SideTest = () => true): number | null {
  if (fragments.length < LEAST_LINES * 2 || fragments.length > MOST_FRAGMENTS) return null;
  const [left, right] = edgesOf(fragments);
  const size = median(fragments.map((fragment) => fragment.size));
  const width = right - left;
  // Columns are not much narrower than a quarter of what they stand in.
  const from = left + width * 0.2;
  const steps = Math.min(Math.ceil((width * 0.6) / (size / 4)), MOST_STEPS);
  let best: { x: number; across: number } | null = null;
  for (let i = 0; i < steps; i++) {
    const x = from + (width * 0.6 * i) / steps;
    const across = fragments.filter((fragment) => fragment.left < x + size / 4 && fragment.right > x - size / 4).length;
    if (across > fragments.length * MOST_ACROSS || (best && across >= best.across)) continue;
    if (isBetweenColumns(fragments, x, isText)) best = { x, across };
  }
  return best?.x ?? null;
}

function isBetweenColumns(fragments: readonly Fragment[], x: number, isText: SideTest): boolean {
  const sides = [fragments.filter(({ right }) => right <= x), fragments.filter(({ left }) => left >= x)];
  for (const side of sides) {
    if (side.length < LEAST_LINES) return false;
    const [left, right] = edgesOf(side);
    if (median(side.map((fragment) => fragment.right - fragment.left)) < (right - left) * FILLED) return false;
    // A list's numbers and their items are no columns.
    if (median(side.map(({ text }) => text.length)) < 12) return false;
  }
  const [first = [], second = []] = sides;
  // What would not reach over a place nearer to one side is no title: it belongs to the other.
  const [, from] = edgesOf(first);
  const [to] = edgesOf(second);
  if (fragments.some(({ left, right }) => left < x && right > x && (right <= to || left >= from))) return false;
  const top = first.reduce((least, { y }) => Math.min(least, y), Number.POSITIVE_INFINITY);
  const bottom = first.reduce((most, { y }) => Math.max(most, y), Number.NEGATIVE_INFINITY);
  const isBeside = second.filter(({ y }) => y >= top - 1 && y <= bottom + 1).length >= LEAST_LINES / 2;
  return isBeside && sides.every(isText);
}

/** What stands beside each other is one line. */
function linesOf(fragments: readonly Fragment[], [columnLeft, columnRight] = edgesOf(fragments)): Line[] {
  const lines: Line[] = [];
  for (const fragment of [...fragments].sort((a, b) => a.y - b.y || a.left - b.left)) {
    const last = lines.at(-1);
    if (last && fragment.y - last.y < Math.min(last.size, fragment.size) * 0.5) addTo(last, fragment);
    else lines.push({ ...fragment, columnLeft, columnRight });
  }
  return lines;
}

function addTo(line: Line, { text, left, right, size, font }: Fragment): void {
  line.text = left >= line.left ? `${line.text} ${text}` : `${text} ${line.text}`;
  if (right - left > line.right - line.left) Object.assign(line, { size, font });
  line.left = Math.min(line.left, left);
  line.right = Math.max(line.right, right);
}

function edgesOf(fragments: readonly Fragment[]): [left: number, right: number] {
  let left = Number.POSITIVE_INFINITY;
  let right = Number.NEGATIVE_INFINITY;
  for (const fragment of fragments) {
    left = Math.min(left, fragment.left);
    right = Math.max(right, fragment.right);
  }
  return [left, right];
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
