/** Images in grey, made row by row: what is too large is scaled down while it is decoded, so that it is never there whole. */

/** `[height, width]` uint8: 0 is black. */
export interface GreyImage {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

/** Of one made row: what sums of areas may be off by. */
const EPSILON = 1e-6;

/** Takes rows of `width` grey pixels, from the top, and averages them over areas where there are more than `maxPixels`. */
export class GreyScaler {
  readonly image: GreyImage;
  readonly #width: number;
  readonly #height: number;
  /** Of the row that is being made: sums of grey × area. */
  readonly #sums: Float32Array;
  /** Areas are in units of one made pixel. */
  readonly #scaleX: number;
  readonly #scaleY: number;
  #rows = 0;
  #made = 0;

  constructor(width: number, height: number, maxPixels: number) {
    const scale = Math.min(1, Math.sqrt(maxPixels / (width * height)));
    const made = { width: Math.max(1, Math.floor(width * scale)), height: Math.max(1, Math.floor(height * scale)) };
    this.image = { ...made, pixels: new Uint8Array(made.width * made.height) };
    this.#width = width;
    this.#height = height;
    this.#scaleX = made.width / width;
    this.#scaleY = made.height / height;
    this.#sums = new Float32Array(made.width);
  }

  get isFull(): boolean {
    return this.#rows === this.#height;
  }

  push(row: Uint8Array): void {
    const { image } = this;
    const y = this.#rows++;
    if (image.width === this.#width && image.height === this.#height) {
      image.pixels.set(row, y * image.width);
      return;
    }
    // A row's area may end within one made row and go on in the next.
    const top = y * this.#scaleY;
    const above = Math.max(0, Math.min(this.#scaleY, this.#made + 1 - top));
    this.#add(row, above);
    if (top + this.#scaleY < this.#made + 1 - EPSILON) return;
    this.#finish();
    if (this.#made < image.height) this.#add(row, this.#scaleY - above);
  }

  #add(row: Uint8Array, heightShare: number): void {
    const scale = this.#scaleX;
    const last = this.#sums.length - 1;
    for (let x = 0; x < this.#width; x++) {
      const left = x * scale;
      const made = Math.min(Math.floor(left), last);
      const grey = row[x]! * heightShare;
      const share = Math.min(scale, made + 1 - left);
      this.#sums[made]! += grey * share;
      if (share < scale && made < last) this.#sums[made + 1]! += grey * (scale - share);
    }
  }

  #finish(): void {
    const { width, pixels } = this.image;
    const start = this.#made++ * width;
    for (let x = 0; x < width; x++) pixels[start + x] = Math.min(255, Math.round(this.#sums[x]!));
    this.#sums.fill(0);
  }
}

/** Luma of ITU-R BT.601. */
export function lumaOf(red: number, green: number, blue: number): number {
  return (red * 77 + green * 150 + blue * 29) >> 8;
}

/** On white paper. */
export function onWhite(grey: number, alpha: number): number {
  return 255 - Math.round(((255 - grey) * alpha) / 255);
}

/** Of samples of so many bits, from black to white. */
export function greyLevels(depth: number): Uint8Array {
  const last = 2 ** depth - 1;
  return Uint8Array.from({ length: last + 1 }, (_, level) => Math.round((level * 255) / last));
}

/** How a row's samples lie: the first of a byte in its highest bits. */
export interface RowFormat {
  readonly width: number;
  /** Of a pixel. */
  readonly samples: number;
  /** Bits of a sample: 1, 2, 4, 8 or 16, of which the upper eight are read. */
  readonly depth: number;
  /** Greys by sample, where it is no grey itself. */
  readonly palette: Uint8Array | null;
  readonly hasColour: boolean;
  /** In the last sample. */
  readonly hasAlpha: boolean;
  /** Whether of 16 bits the lower eight come first. */
  readonly isLittle: boolean;
}

/** @returns what makes grey of a row, in the same array each time */
export function greyRow(format: RowFormat): (row: Uint8Array) => Uint8Array {
  const { width, samples, depth, palette, hasColour, hasAlpha } = format;
  const grey = new Uint8Array(width);
  if (depth < 8) {
    const mask = 2 ** depth - 1;
    const perByte = 8 / depth;
    const greys = palette ?? greyLevels(depth);
    return (row) => {
      for (let x = 0; x < width; x++) {
        const shift = 8 - depth - (x % perByte) * depth;
        grey[x] = greys[(row[Math.floor(x / perByte)]! >> shift) & mask]!;
      }
      return grey;
    };
  }
  const step = depth / 8;
  const first = format.isLittle ? step - 1 : 0;
  return (row) => {
    for (let x = 0, at = first; x < width; x++, at += samples * step) {
      const sample = row[at]!;
      const value = hasColour ? lumaOf(sample, row[at + step]!, row[at + 2 * step]!) : (palette?.[sample] ?? sample);
      grey[x] = hasAlpha ? onWhite(value, row[at + (samples - 1) * step]!) : value;
    }
    return grey;
  };
}

/** The part of an image that begins at `left`, `top`. */
export function crop(image: GreyImage, left: number, top: number, width: number, height: number): GreyImage {
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const start = (top + y) * image.width + left;
    pixels.set(image.pixels.subarray(start, start + width), y * width);
  }
  return { width, height, pixels };
}
