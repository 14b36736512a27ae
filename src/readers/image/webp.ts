/** WebP's headers (RFC 9649). */
import { EdgeT5Error } from "../../errors.ts";
import { Bytes } from "./bytes.ts";
import type { ImagePage, Orientation } from "./size.ts";
import { exifOrientation } from "./tiff.ts";

const ANIMATION = 0x02;

export function webpPage(bytes: Uint8Array): ImagePage {
  const file = new Bytes(bytes, "WebP", true);
  const end = 8 + file.u32(4);
  if (end > bytes.length) throw file.damaged("it is cut off");
  let size: { width: number; height: number } | null = null;
  let canvas: { width: number; height: number } | null = null;
  let orientation: Orientation = 1;
  for (let at = 12; at + 8 <= end; ) {
    const name = file.name(at);
    const length = file.u32(at + 4);
    const start = at + 8;
    if (start + length > end) throw file.damaged("a chunk ends after the file");
    if (name === "VP8X") {
      if (file.u8(start) & ANIMATION) {
        throw new EdgeT5Error("E_FORMAT", "The WebP file is an animation: send one of its images.");
      }
      canvas = { width: 1 + u24(file, start + 4), height: 1 + u24(file, start + 7) };
    } else if (name === "VP8 ") {
      size = { width: file.u16(start + 6) & 0x3fff, height: file.u16(start + 8) & 0x3fff };
    } else if (name === "VP8L") {
      const bits = file.u32(start + 1);
      size = { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
    } else if (name === "EXIF") {
      orientation = exifOrientation(bytes.subarray(start, start + length));
    }
    at = start + length + (length & 1);
  }
  if (!size) throw file.damaged("it has no pixels");
  if (canvas && (canvas.width !== size.width || canvas.height !== size.height)) {
    throw file.damaged("its headers name two sizes");
  }
  // Four bytes a pixel, twice while they are handed over; and the decoder's own rows and tables.
  return { ...size, orientation, bytesPerPixel: 8, isByRows: false };
}

function u24(file: Bytes, at: number): number {
  return file.u16(at) | (file.u8(at + 2) << 16);
}
