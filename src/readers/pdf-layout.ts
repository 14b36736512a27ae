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
  for (const piece of pieces) {
    if (piece.text.trim() === "") continue;
    const gap = last ? piece.left - last.right : 0;
    const size = Math.max(piece.size, last?.size ?? 0);
    const isSameLine = last && Math.abs(piece.y - last.y) < size * 0.45 && gap > -size * 0.5 && gap < size * WIDE_GAP;
    if (last && isSameLine) {
      const space = gap > size * WORD_GAP && !/\s$/.test(last.text) && !/^\s/.test(piece.text) ? " " : "";
      // A superscript is not the line's size.
      if (piece.size > last.size) Object.assign(last, { size: piece.size, y: piece.y, font: piece.font });
      last.text += space + piece.text;
      last.right = Math.max(last.right, piece.right);
    } else {
      last = { ...piece };
      fragments.push(last);
    }
  }
  return fragments;
}

/** In reading order: a column before the one to its right, what reaches over both between what is above and below it. */
export function readingOrder(fragments: readonly Fragment[], depth = 0): Line[] {
  const gutter = depth < MOST_COLUMNS ? gutterOf(fragments) : null;
  if (gutter === null) return linesOf(fragments);
  const across = fragments.filter(({ left, right }) => left < gutter && right > gutter).sort((a, b) => a.y - b.y);
  const lines: Line[] = [];
  let top = Number.NEGATIVE_INFINITY;
  for (const end of [...across, null]) {
    const bottom = end?.y ?? Number.POSITIVE_INFINITY;
    const band = fragments.filter((fragment) => !across.includes(fragment) && fragment.y >= top && fragment.y < bottom);
    const left = band.filter(({ right }) => right <= gutter);
    const right = band.filter(({ right }) => right > gutter);
    lines.push(...readingOrder(left, depth + 1), ...readingOrder(right, depth + 1));
    if (end) lines.push(...linesOf([end]));
    top = bottom;
  }
  return lines;
}

const MOST_COLUMNS = 3;

/** A place between two columns of running text; null where there is none. */
function gutterOf(fragments: readonly Fragment[]): number | null {
  if (fragments.length < LEAST_LINES * 2) return null;
  const left = Math.min(...fragments.map((fragment) => fragment.left));
  const right = Math.max(...fragments.map((fragment) => fragment.right));
  const size = median(fragments.map((fragment) => fragment.size));
  let best: { x: number; across: number } | null = null;
  // Columns are not much narrower than a quarter of what they stand in.
  for (let x = left + (right - left) * 0.2; x < right - (right - left) * 0.2; x += size / 4) {
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
    const left = Math.min(...side.map((fragment) => fragment.left));
    const right = Math.max(...side.map((fragment) => fragment.right));
    if (median(side.map((fragment) => fragment.right - fragment.left)) < (right - left) * FILLED) return false;
    // A list's numbers and their items are no columns.
    if (median(side.map(({ text }) => text.length)) < 12) return false;
  }
  const [first = [], second = []] = sides;
  const ys = first.map(({ y }) => y);
  const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
  return second.filter(({ y }) => y >= top - 1 && y <= bottom + 1).length >= LEAST_LINES / 2;
}

/** What stands beside each other is one line. */
function linesOf(fragments: readonly Fragment[]): Line[] {
  const columnLeft = Math.min(...fragments.map(({ left }) => left));
  const columnRight = Math.max(...fragments.map(({ right }) => right));
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

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
