/** Windows of a text: runs of whole sentences, each as much as a prompt holds. */
import { cutToFit } from "./cut.ts";
import { type Fill, type LongBounds, roomOf } from "./model.ts";
import { splitSentences } from "./sentences.ts";

/** A sentence with what stands around it: tiles joined are the text. */
export interface Tile {
  readonly text: string;
  /** That it takes of a prompt, nearly: joined texts may have a token more or less than their parts. */
  readonly tokens: number;
}

/** From the first tile to the one before `end`. */
export interface Span {
  first: number;
  end: number;
}

/** What is packed, and into what. */
export interface Window {
  bounds: LongBounds;
  fill: Fill;
  /** Tokens for the text. */
  room: number;
}

/** @throws EdgeT5Error `E_CONTEXT_LENGTH` when the template leaves no room */
export function windowOf(bounds: LongBounds, fill: Fill): Window {
  return { bounds, fill, room: roomOf(bounds, fill) };
}

/** No token has more characters: texts longer than this a token are not even counted. */
export const MOST_CHARACTERS = 64;

export function fits(text: string, { bounds, fill }: Pick<Window, "bounds" | "fill">): boolean {
  if (text.length > bounds.maxInputTokens * MOST_CHARACTERS) return false;
  return bounds.count(fill(text)) <= bounds.maxInputTokens;
}

/** @throws EdgeT5Error `E_CONTEXT_LENGTH` when not even a character fits */
export function tilesOf(text: string, window: Window, locale?: string): Tile[] {
  const texts: string[] = [];
  let lead = "";
  for (const piece of splitSentences(text, locale)) {
    if (piece.isSentence) {
      texts.push(lead + piece.text);
      lead = "";
    } else {
      // Blanks and line breaks belong to what ends, a margin and a marker to what begins.
      const lineBreak = Math.max(piece.text.lastIndexOf("\n"), piece.text.lastIndexOf("\r"));
      const line = texts.length === 0 ? 0 : lineBreak + 1;
      if (texts.length > 0) texts[texts.length - 1] += piece.text.slice(0, line);
      lead = piece.text.slice(line);
    }
  }
  if (texts.length === 0) texts.push(lead);
  else texts[texts.length - 1] += lead;
  const empty = window.bounds.maxInputTokens - window.room;
  return texts
    .flatMap((each) => cutToFit(each, (part) => fits(part, window)))
    .map((each) => ({ text: each, tokens: Math.max(1, window.bounds.count(window.fill(each.trim())) - empty) }));
}

export function tokensOf(tiles: readonly Tile[]): number {
  return tiles.reduce((sum, { tokens }) => sum + tokens, 0);
}

export function textOf(tiles: readonly Tile[], { first, end }: Span): string {
  return tiles
    .slice(first, end)
    .map(({ text }) => text)
    .join("")
    .trim();
}

/**
 * Fills windows one after the other.
 *
 * @param overlap the most of a window, from 0 to 1, that is tiles of the one before
 */
export function pack(tiles: readonly Tile[], window: Window, overlap = 0): Span[] {
  const { room } = window;
  const spans: Span[] = [];
  const tokensOf = (i: number) => (tiles[i] as Tile).tokens;
  let done = 0;
  let first = 0;
  while (done < tiles.length) {
    let end = first;
    let tokens = 0;
    while (end < tiles.length && (end === first || tokens + tokensOf(end) <= room)) tokens += tokensOf(end++);
    while (end > first + 1 && !fits(textOf(tiles, { first, end }), window)) end--;
    if (end <= done) {
      // With what it shares there is no room for the next tile.
      first = done;
      continue;
    }
    spans.push({ first, end });
    done = end;
    first = end;
    let shared = end < tiles.length ? tokensOf(end) : 0;
    const most = shared + overlap * room;
    const before = (spans.at(-1) as Span).first;
    while (first > before + 1 && shared + tokensOf(first - 1) <= Math.min(most, room)) shared += tokensOf(--first);
  }
  return spans;
}

/** About `windows` windows of the same size; more where fewer have no room. */
export function packEvenly(tiles: readonly Tile[], window: Window, windows: number): Span[] {
  const total = tokensOf(tiles);
  const each = Math.max(1, total / Math.max(windows, Math.ceil(total / window.room)));
  const spans: Span[] = [];
  let first = 0;
  let before = 0;
  for (let end = 1; end <= tiles.length; end++) {
    const middle = before + (tiles[end - 1] as Tile).tokens / 2;
    before += (tiles[end - 1] as Tile).tokens;
    const next = end < tiles.length ? before + (tiles[end] as Tile).tokens / 2 : Number.POSITIVE_INFINITY;
    if (Math.floor(next / each) === Math.floor(middle / each)) continue;
    const offset = first;
    const packed = pack(tiles.slice(first, end), window);
    spans.push(...packed.map((span) => ({ first: span.first + offset, end: span.end + offset })));
    first = end;
  }
  return spans;
}
