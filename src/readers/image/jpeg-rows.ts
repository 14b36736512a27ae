/**
 * Sequential JPEG (ITU T.81) in grey, row by row: only brightness is decoded, colours are skipped. For what is too large for
 * tesseract's decoder, which holds all pixels in colour, twice: a camera's 12 million are 96 MB there, and 9 here.
 */
import { EdgeT5Error } from "../../errors.ts";
import { damaged } from "./bytes.ts";
import { type GreyImage, GreyScaler } from "./grey.ts";

/** Of a frame's component; the first is brightness. */
interface Component {
  readonly id: number;
  /** Blocks across and down, of each unit that the components take turns by. */
  readonly h: number;
  readonly v: number;
  readonly quantization: number;
}

interface HuffmanTable {
  /** By the next eight bits: the code's length in the upper bits, its value in the lower eight; 0 for a longer code. */
  readonly short: Uint16Array;
  /** Of each length: the last code, and what is added to a code to find its value. */
  readonly lastCode: Int32Array;
  readonly offset: Int32Array;
  readonly values: Uint8Array;
}

interface ScanComponent extends Component {
  readonly dc: HuffmanTable;
  readonly ac: HuffmanTable;
}

interface Scan {
  readonly components: readonly ScanComponent[];
  /** Units between two restarts; 0 for none. */
  readonly restartInterval: number;
  /** Of the first byte of its data. */
  readonly start: number;
}

const ZIGZAG = Uint8Array.of(
  ...[
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28,
  ],
  ...[
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47,
    55,
  ],
  ...[62, 63],
);

/** `[8 frequencies, 8 places]`: cosines of the inverse transform, with its factors. */
const COSINES = Float32Array.from({ length: 64 }, (_, i) => {
  const [frequency, place] = [i >> 3, i & 7];
  return (frequency === 0 ? Math.SQRT1_2 : 1) * 0.5 * Math.cos(((2 * place + 1) * frequency * Math.PI) / 16);
});

/**
 * @param bytes whose headers `jpegPage` found to be of this kind
 * @throws EdgeT5Error `E_DAMAGED`
 */
export function readJpegRows(bytes: Uint8Array, maxPixels: number): GreyImage {
  const { width, height, rows } = openJpeg(bytes);
  const scaler = new GreyScaler(width, height, maxPixels);
  for (const row of rows()) scaler.push(row);
  return scaler.image;
}

export interface JpegRows {
  readonly width: number;
  readonly height: number;
  /** @yields a row each, in an array that is used again after eight or more */
  rows(): Generator<Uint8Array, void, undefined>;
}

/**
 * @param tables of a JPEG file that has nothing else, where they do not stand in `bytes`
 * @param component whose values are taken; the first is brightness, unless the others are colours of a kind
 * @throws EdgeT5Error `E_DAMAGED`; `E_FORMAT` for another kind than sequential, of grey or three colours, at eight bits
 */
export function openJpeg(bytes: Uint8Array, tables?: Uint8Array, component = 0): JpegRows {
  const headers = readHeaders(bytes, tables, component);
  return { width: headers.width, height: headers.height, rows: () => decodedRows(bytes, headers) };
}

function* decodedRows(
  bytes: Uint8Array,
  { scan, taken, width, height, quantization }: Headers,
): Generator<Uint8Array, void, undefined> {
  const brightness = scan.components[taken]!;
  // A component alone goes block by block.
  const [across, down] = scan.components.length === 1 ? [1, 1] : [brightness.h, brightness.v];
  const units = Math.ceil(width / (8 * across));
  const stride = units * across * 8;
  const rows = new Uint8Array(stride * down * 8);
  const reader = new BlockReader(bytes, scan.start, scan.components.length);
  let sinceRestart = 0;
  for (let top = 0; top < height; top += down * 8) {
    for (let unit = 0; unit < units; unit++) {
      if (scan.restartInterval > 0 && sinceRestart++ === scan.restartInterval) {
        reader.restart();
        sinceRestart = 1;
      }
      for (const [index, { dc, ac, h, v }] of scan.components.entries()) {
        if (index !== taken) {
          for (let block = 0; block < h * v; block++) reader.readBlock(index, dc, ac);
          continue;
        }
        for (let block = 0; block < across * down; block++) {
          reader.readBlock(index, dc, ac);
          const left = (unit * across + (block % across)) * 8;
          const above = Math.floor(block / across) * 8;
          transform(reader.coefficients, quantization, rows, above * stride + left, stride);
        }
      }
    }
    for (let y = 0; y < Math.min(down * 8, height - top); y++) yield rows.subarray(y * stride, y * stride + width);
  }
}

interface Headers {
  readonly width: number;
  readonly height: number;
  readonly scan: Scan;
  /** Which of the scan's components is taken. */
  readonly taken: number;
  /** Of that one, by place. */
  readonly quantization: Uint16Array;
}

interface Tables {
  readonly quantizations: Map<number, Uint16Array>;
  readonly codes: Map<number, HuffmanTable>;
  restartInterval: number;
}

/** Up to the scan that the component is in. */
function readHeaders(bytes: Uint8Array, before: Uint8Array | undefined, component: number): Headers {
  const tables: Tables = { quantizations: new Map(), codes: new Map(), restartInterval: 0 };
  if (before) for (const { marker, segment } of segmentsOf(before)) readTable(marker, segment, tables);
  let frame: Frame | null = null;
  for (const { marker, segment, end } of segmentsOf(bytes)) {
    readTable(marker, segment, tables);
    if (isFrame(marker)) frame = readFrame(marker, segment, component);
    if (marker !== 0xda || !frame) continue;
    const components = scanComponents(segment, frame.components, tables.codes);
    const taken = components.findIndex(({ id }) => id === frame?.taken.id);
    if (taken < 0) continue;
    const quantization = tables.quantizations.get(frame.taken.quantization);
    if (!quantization) throw broken("a table is missing");
    const { width, height } = frame;
    const scan = { components, restartInterval: tables.restartInterval, start: end };
    return { scan, taken, width, height, quantization };
  }
  throw broken("it has no brightness");
}

interface Segment {
  readonly marker: number;
  readonly segment: Uint8Array;
  readonly end: number;
}

function* segmentsOf(bytes: Uint8Array): Generator<Segment, void, undefined> {
  for (let at = 2; at + 4 <= bytes.length; ) {
    const marker = bytes[at + 1]!;
    if (bytes[at] !== 0xff || marker === 0xff) {
      // Fill bytes, or the data of a scan that brightness is not in.
      at++;
      continue;
    }
    if (marker === 0 || marker === 0xd9 || isRestart(marker)) {
      at += 2;
      continue;
    }
    const end = at + 2 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
    yield { marker, segment: bytes.subarray(at + 4, end), end };
    at = end;
  }
}

function readTable(marker: number, segment: Uint8Array, tables: Tables): void {
  if (marker === 0xdb) readQuantizations(segment, tables.quantizations);
  else if (marker === 0xc4) readTables(segment, tables.codes);
  else if (marker === 0xdd) tables.restartInterval = (segment[0]! << 8) | segment[1]!;
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly components: readonly Component[];
  readonly taken: Component;
}

/** SOF0 to SOF15, without DHT, JPG and DAC between them. */
export function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

function readFrame(marker: number, segment: Uint8Array, component: number): Frame {
  const [depth = 0, highHeight = 0, lowHeight = 0, highWidth = 0, lowWidth = 0, count = 0] = segment;
  const components = Array.from({ length: count }, (_, i) => {
    const [id = 0, sampling = 0, quantization = 0] = segment.subarray(6 + 3 * i, 9 + 3 * i);
    return { id, h: sampling >> 4, v: sampling & 15, quantization };
  });
  const taken = components[component];
  const isKnown = marker <= 0xc1 && depth === 8 && count <= 3;
  if (!isKnown || components.some(({ h, v }) => !taken || h > taken.h || v > taken.v)) {
    const what = "Its JPEG data is of a kind that cannot be read here (progressive, four colours, 12 bits)";
    throw new EdgeT5Error("E_FORMAT", `${what}: save it as baseline JPEG, or as PNG.`);
  }
  if (!taken || taken.h < 1 || taken.v < 1) throw broken("a component has a sampling that there is not");
  return { height: (highHeight << 8) | lowHeight, width: (highWidth << 8) | lowWidth, components, taken };
}

function readQuantizations(segment: Uint8Array, into: Map<number, Uint16Array>): void {
  for (let at = 0; at < segment.length; ) {
    const head = segment[at++]!;
    const size = head >> 4 ? 2 : 1;
    const table = new Uint16Array(64);
    for (let i = 0; i < 64; i++, at += size) {
      table[ZIGZAG[i]!] = size === 2 ? (segment[at]! << 8) | segment[at + 1]! : segment[at]!;
    }
    into.set(head & 15, table);
  }
}

function readTables(segment: Uint8Array, into: Map<number, HuffmanTable>): void {
  for (let at = 0; at + 17 <= segment.length; ) {
    const head = segment[at]!;
    const counts = segment.subarray(at + 1, at + 17);
    const total = counts.reduce((sum, count) => sum + count, 0);
    into.set(head, huffmanTable(counts, segment.subarray(at + 17, at + 17 + total)));
    at += 17 + total;
  }
}

/** @param counts of codes, by length from 1 to 16 */
function huffmanTable(counts: Uint8Array, values: Uint8Array): HuffmanTable {
  const short = new Uint16Array(256);
  const lastCode = new Int32Array(17).fill(-1);
  const offset = new Int32Array(17);
  let code = 0;
  let index = 0;
  for (let length = 1; length <= 16; length++) {
    const count = counts[length - 1]!;
    if (code + count > 1 << length) throw broken("a table has too many codes");
    offset[length] = index - code;
    for (let i = 0; i < count && length <= 8; i++) {
      const first = (code + i) << (8 - length);
      short.fill((length << 8) | values[index + i]!, first, first + (1 << (8 - length)));
    }
    code += count;
    index += count;
    if (count > 0) lastCode[length] = code - 1;
    code <<= 1;
  }
  return { short, lastCode, offset, values };
}

function scanComponents(
  segment: Uint8Array,
  components: readonly Component[],
  tables: ReadonlyMap<number, HuffmanTable>,
): ScanComponent[] {
  return Array.from({ length: segment[0] ?? 0 }, (_, i) => {
    const [id, choice = 0] = segment.subarray(1 + 2 * i, 3 + 2 * i);
    const component = components.find((each) => each.id === id);
    const dc = tables.get(choice >> 4);
    const ac = tables.get(0x10 | (choice & 15));
    if (!component || !dc || !ac) throw broken("a table is missing");
    return { ...component, dc, ac };
  });
}

/** Reads blocks' coefficients out of a scan's bits. */
class BlockReader {
  /** Of the last block, by place; not yet multiplied. */
  readonly coefficients = new Int32Array(64);
  readonly #bytes: Uint8Array;
  readonly #before: Int32Array;
  #at: number;
  #bits = 0;
  #count = 0;
  /** Bits that the data did not have. */
  #missing = 0;

  constructor(bytes: Uint8Array, start: number, components: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#before = new Int32Array(components);
  }

  readBlock(component: number, dc: HuffmanTable, ac: HuffmanTable): void {
    const { coefficients } = this;
    coefficients.fill(0);
    this.#before[component]! += this.#signed(this.#symbol(dc));
    coefficients[0] = this.#before[component]!;
    for (let i = 1; i < 64; i++) {
      const symbol = this.#symbol(ac);
      const size = symbol & 15;
      if (size === 0) {
        if (symbol !== 0xf0) return;
        i += 15;
        continue;
      }
      i += symbol >> 4;
      if (i > 63) throw broken("a block has too many coefficients");
      coefficients[ZIGZAG[i]!] = this.#signed(size);
    }
  }

  /** Goes on after the next restart marker. */
  restart(): void {
    const bytes = this.#bytes;
    while (this.#at < bytes.length && !(bytes[this.#at] === 0xff && isRestart(bytes[this.#at + 1]))) {
      if (bytes[this.#at] === 0xff && bytes[this.#at + 1] === 0xd9) throw broken("it ends too early");
      this.#at++;
    }
    this.#at += 2;
    this.#bits = 0;
    this.#count = 0;
    this.#missing = 0;
    this.#before.fill(0);
  }

  #symbol({ short, lastCode, offset, values }: HuffmanTable): number {
    this.#fill();
    const found = short[(this.#bits >>> (this.#count - 8)) & 255]!;
    if (found !== 0) {
      this.#count -= found >> 8;
      return found & 255;
    }
    for (let length = 9; length <= 16; length++) {
      const code = (this.#bits >>> (this.#count - length)) & ((1 << length) - 1);
      const value = code <= lastCode[length]! ? values[code + offset[length]!] : undefined;
      if (value === undefined) continue;
      this.#count -= length;
      return value;
    }
    throw broken("its pixels have a code that there is not");
  }

  /** The number of `size` bits: the lower half of them are negative. */
  #signed(size: number): number {
    if (size === 0) return 0;
    if (size > 15) throw broken("a coefficient is too large");
    this.#fill();
    this.#count -= size;
    const value = (this.#bits >>> this.#count) & ((1 << size) - 1);
    return value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
  }

  /** To at least 16 bits; after the data's end, with zeros. */
  #fill(): void {
    while (this.#count < 16) {
      let byte = this.#bytes[this.#at] ?? 0xff;
      if (byte === 0xff && this.#bytes[this.#at + 1] !== 0) {
        byte = 0;
        this.#missing += 8;
        if (this.#missing > 64) throw broken("it ends too early");
      } else {
        this.#at += byte === 0xff ? 2 : 1;
      }
      this.#bits = (this.#bits << 8) | byte;
      this.#count += 8;
    }
  }
}

function isRestart(marker: number | undefined): boolean {
  return marker !== undefined && marker >= 0xd0 && marker <= 0xd7;
}

const columns = new Float32Array(64);

/** The inverse cosine transform of a block, into the rows of its place. */
function transform(
  coefficients: Int32Array,
  quantization: Uint16Array,
  rows: Uint8Array,
  start: number,
  stride: number,
): void {
  columns.fill(0);
  for (let i = 0; i < 64; i++) {
    const coefficient = coefficients[i]!;
    if (coefficient === 0) continue;
    const value = coefficient * quantization[i]!;
    const [row, column] = [i >> 3, i & 7];
    for (let y = 0; y < 8; y++) columns[y * 8 + column]! += value * COSINES[row * 8 + y]!;
  }
  for (let y = 0; y < 8; y++) {
    for (let x = 0; x < 8; x++) {
      let sum = 128.5;
      for (let frequency = 0; frequency < 8; frequency++)
        sum += columns[y * 8 + frequency]! * COSINES[frequency * 8 + x]!;
      rows[start + y * stride + x] = sum < 0 ? 0 : sum > 255 ? 255 : sum;
    }
  }
}

function broken(why: string): Error {
  return damaged("JPEG", why);
}
