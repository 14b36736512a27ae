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

/** In reading order: a column before the one to its right, what reaches over both between what is above and below it. */
export function readingOrder(fragments: readonly Fragment[], depth = 0): Line[] {
  const gutter = depth < MOST_COLUMNS ? gutterOf(fragments) : null;
  if (gutter === null) return linesOf(fragments);
  const across = fragments.filter(({ left, right }) => left < gutter && right > gutter).sort((a, b) => a.y - b.y);
  const beside = fragments.filter(({ left, right }) => left >= gutter || right <= gutter);
  const lines: Line[] = [];
  let top = Number.NEGATIVE_INFINITY;
  for (const end of [...across, null]) {
    const bottom = end?.y ?? Number.POSITIVE_INFINITY;
    const band = beside.filter(({ y }) => y >= top && y < bottom);
    const left = band.filter(({ right }) => right <= gutter);
    const right = band.filter(({ right }) => right > gutter);
    lines.push(...readingOrder(left, depth + 1), ...readingOrder(right, depth + 1));
    if (end) lines.push(...linesOf([end]));
    top = bottom;
  }
  return lines;
}

const MOST_COLUMNS = 3;
/** Of a page that columns are looked for on: a drawing's labels may be more. */
const MOST_FRAGMENTS = 4000;
/** Places that are looked at. */
const MOST_STEPS = 400;

/** A place between two columns of running text; null where there is none. */
function gutterOf(fragments: readonly Fragment[]): number | null {
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
    if (isBetweenColumns(fragments, x)) best = { x, across };
  }
  return best?.x ?? null;
}

function isBetweenColumns(fragments: readonly Fragment[], x: number): boolean {
  const sides = [fragments.filter(({ right }) => right <= x), fragments.filter(({ left }) => left >= x)];
  for (const side of sides) {
    if (side.length < LEAST_LINES) return false;
    const [left, right] = edgesOf(side);
    if (median(side.map((fragment) => fragment.right - fragment.left)) < (right - left) * FILLED) return false;
    // A list's numbers and their items are no columns.
    if (median(side.map(({ text }) => text.length)) < 12) return false;
  }
  const [first = [], second = []] = sides;
  const top = first.reduce((least, { y }) => Math.min(least, y), Number.POSITIVE_INFINITY);
  const bottom = first.reduce((most, { y }) => Math.max(most, y), Number.NEGATIVE_INFINITY);
  return second.filter(({ y }) => y >= top - 1 && y <= bottom + 1).length >= LEAST_LINES / 2;
}

/** What stands beside each other is one line. */
function linesOf(fragments: readonly Fragment[]): Line[] {
  const [columnLeft, columnRight] = edgesOf(fragments);
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
