/** JPEG's headers (ITU T.81, annex B), as far as they say what is in the file. */
import { EdgeT5Error } from "../../errors.ts";
import { Bytes } from "./bytes.ts";
import { isFrame } from "./jpeg-rows.ts";
import type { ImagePage, Orientation } from "./size.ts";
import { exifOrientation } from "./tiff.ts";

const EXIF = [0x45, 0x78, 0x69, 0x66, 0, 0];
const ADOBE = [0x41, 0x64, 0x6f, 0x62, 0x65];

export function jpegPage(bytes: Uint8Array): ImagePage {
  const file = new Bytes(bytes, "JPEG");
  let frame: Omit<ImagePage, "orientation"> | null = null;
  let orientation: Orientation = 1;
  let hasBrightness = true;
  for (let at = 2; ; ) {
    if (file.u8(at) !== 0xff) throw file.damaged("a marker is missing between its segments");
    const marker = file.u8(at + 1);
    if (marker === 0xff) {
      at++;
      continue;
    }
    const length = file.u16(at + 2);
    const start = at + 4;
    const end = at + 2 + length;
    if (length < 2 || end > bytes.length) throw file.damaged("a segment ends after the file");
    if (marker === 0xe1 && EXIF.every((byte, i) => bytes[start + i] === byte)) {
      orientation = exifOrientation(bytes.subarray(start + EXIF.length, end));
    } else if (marker === 0xee && ADOBE.every((byte, i) => bytes[start + i] === byte)) {
      // Red, green and blue as they are.
      hasBrightness = bytes[start + 11] !== 0;
    } else if (isFrame(marker)) {
      if (frame) throw file.damaged("it has two frames");
      frame = readFrame(file, marker, start);
    } else if (marker === 0xda) {
      if (!frame) throw file.damaged("its pixels come before its size");
      if (!hasEnd(bytes, end)) throw file.damaged("it is cut off");
      return { ...frame, orientation, isByRows: frame.isByRows && hasBrightness };
    } else if (marker === 0xd9 || marker === 0xd8) {
      throw file.damaged("it has no pixels");
    }
    at = end;
  }
}

function readFrame(file: Bytes, marker: number, at: number): Omit<ImagePage, "orientation"> {
  const count = file.u8(at + 5);
  if (marker > 0xc2 || file.u8(at) !== 8 || ![1, 3, 4].includes(count)) {
    const what = "This kind of JPEG (lossless, arithmetic coding, 12 bits) cannot be read";
    throw new EdgeT5Error("E_FORMAT", `${what}: save it as baseline or progressive JPEG, or as PNG.`);
  }
  const components = Array.from({ length: count }, (_, i) => {
    const sampling = file.u8(at + 7 + 3 * i);
    return { id: file.u8(at + 6 + 3 * i), h: sampling >> 4, v: sampling & 15 };
  });
  if (components.some(({ h, v }) => h < 1 || h > 4 || v < 1 || v > 4)) {
    throw file.damaged("a component has a sampling that there is not");
  }
  const [h, v] = [Math.max(...components.map(({ h }) => h)), Math.max(...components.map(({ v }) => v))];
  const samples = components.reduce((sum, each) => sum + each.h * each.v, 0) / (h * v);
  // Grey stays one byte, colour becomes four; held twice while it is handed over. A progressive file's coefficients are
  // kept until its last scan: two bytes each.
  const isProgressive = marker === 0xc2;
  const bytesPerPixel = (count === 1 ? 2 : 8) + (isProgressive ? 2 * samples : 0);
  // What comes first is brightness, and at full resolution; "RGB" names what is none.
  const [first] = components;
  const isByRows = !isProgressive && count < 4 && first?.h === h && first.v === v && first.id !== 0x52;
  return { height: file.u16(at + 1), width: file.u16(at + 3), bytesPerPixel, isByRows };
}

/** Whether an end marker follows: in coded data, 0xff is never followed by one. */
function hasEnd(bytes: Uint8Array, from: number): boolean {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at + 1)) {
    if (bytes[at + 1] === 0xd9) return true;
  }
  return false;
}
