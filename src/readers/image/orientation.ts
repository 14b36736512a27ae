/** Which way up a page is. */
import { crop, type GreyImage } from "./grey.ts";
import type { Orientation } from "./size.ts";

/** Degrees clockwise by which a page is turned to be upright. */
export type Turn = 0 | 90 | 180 | 270;

/** Side of what is looked at to find out which way up a page is. */
const SAMPLE_SIDE = 1000;

/** Orientations after another turn by 90° clockwise. */
const TURNED: Readonly<Record<Orientation, Orientation>> = { 1: 6, 6: 3, 3: 8, 8: 1, 2: 7, 7: 4, 4: 5, 5: 2 };

/** One turn, then another. */
export function turnBy(first: Turn, second: number): Turn {
  return ((first + second) % 360) as Turn;
}

/** @param turn after `orientation` was followed */
export function turned(orientation: Orientation, turn: Turn): Orientation {
  let result = orientation;
  for (let degrees = 0; degrees < turn; degrees += 90) result = TURNED[result];
  return result;
}

/** The part with the most edges, where text is likeliest; the image itself when it is no larger. */
export function densestPart(image: GreyImage): GreyImage {
  const width = Math.min(image.width, SAMPLE_SIDE);
  const height = Math.min(image.height, SAMPLE_SIDE);
  if (width === image.width && height === image.height) return image;
  let best = { left: 0, top: 0, edges: -1 };
  for (const top of steps(image.height, height)) {
    for (const left of steps(image.width, width)) {
      const edges = countEdges(image, left, top, width, height);
      if (edges > best.edges) best = { left, top, edges };
    }
  }
  return crop(image, best.left, best.top, width, height);
}

/** Places of a window along a side, by halves of it. */
function steps(side: number, window: number): number[] {
  const last = side - window;
  const count = Math.ceil(last / (window / 2));
  return Array.from({ length: count + 1 }, (_, i) => Math.round((last * i) / Math.max(1, count)));
}

function countEdges(image: GreyImage, left: number, top: number, width: number, height: number): number {
  let edges = 0;
  for (let y = top; y < top + height; y += 4) {
    const start = y * image.width + left;
    for (let i = start + 1; i < start + width; i++) {
      if (Math.abs(image.pixels[i]! - image.pixels[i - 1]!) > 48) edges++;
    }
  }
  return edges;
}
