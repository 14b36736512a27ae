/** LZW as PDF and TIFF have it: what no library here writes. */

/** @param early 1 where codes grow longer one code early, as is usual */
export function lzw(data: Uint8Array, early = 1): Uint8Array {
  const out: number[] = [];
  let held = 0;
  let bits = 0;
  let width = 9;
  const write = (code: number) => {
    bits = (bits << width) | code;
    for (held += width; held >= 8; held -= 8) out.push((bits >>> (held - 8)) & 255);
  };
  let codes = new Map<number, number>();
  const clear = () => {
    write(256);
    codes = new Map();
    width = 9;
  };
  clear();
  let code = data[0] ?? -1;
  for (const byte of data.subarray(1)) {
    const found = codes.get(code * 256 + byte);
    if (found !== undefined) {
      code = found;
      continue;
    }
    write(code);
    const next = 258 + codes.size;
    codes.set(code * 256 + byte, next);
    code = byte;
    // Who reads is one code behind.
    if (next + early === 2 ** width && width < 12) width++;
    else if (next === 4093) clear();
  }
  if (code >= 0) {
    write(code);
    if (258 + codes.size + early === 2 ** width && width < 12) width++;
  }
  write(257);
  width = 8;
  write(0);
  return Uint8Array.from(out);
}
