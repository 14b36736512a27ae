/**
 * Rows of an int8 embedding as float32: out[i] = w[ids[i]] x scales[ids[i]].
 *
 * @param w [vocabulary, d] int8, `scales` [vocabulary] f32
 * @param inPairs 1 where `w` is [vocabulary / 2][d][2] from pairRows, 0 where it is as it was
 * @param ids [rows] int32
 * @param out [rows, d] f32
 */
export function embedI8(w: usize, scales: usize, inPairs: i32, d: i32, ids: usize, rows: i32, out: usize): void {
  for (let r = 0; r < rows; r++) {
    const id = <usize>load<i32>(ids + (<usize>r << 2));
    const scale = load<f32>(scales + (id << 2));
    if (inPairs) {
      const from = w + (id >> 1) * (<usize>d << 1) + (id & 1);
      const flip = id & 1 ? 0 : 0x80;
      for (let i: usize = 0; i < <usize>d; i++) {
        store<f32>(out + (i << 2), <f32>(<i8>(load<u8>(from + (i << 1)) ^ flip)) * scale);
      }
    } else {
      const from = w + id * <usize>d;
      for (let i: usize = 0; i < <usize>d; i++) {
        store<f32>(out + (i << 2), <f32>load<i8>(from + i) * scale);
      }
    }
    out += <usize>d << 2;
  }
}

/** float16 bits as float32. */
function half(bits: u32): f32 {
  const shifted = ((bits & 0x8000) << 16) | ((bits & 0x7fff) << 13);
  return reinterpret<f32>(shifted) * <f32>5.192296858534828e33;
}

/**
 * Rows of an int4 embedding as float32, in groups of 32 with a scale each (linear-i4.ts).
 *
 * @param w [vocabulary, ceil(d / 32) x 16 bytes], `scales` [vocabulary, ceil(d / 32)] f16
 * @param ids [rows] int32
 * @param out [rows, d] f32
 */
export function embedI4(w: usize, scales: usize, d: i32, ids: usize, rows: i32, out: usize): void {
  const groups = <usize>((d + 31) >> 5);
  for (let r = 0; r < rows; r++) {
    const id = <usize>load<i32>(ids + (<usize>r << 2));
    const from = w + id * groups * 16;
    const own = scales + (id * groups << 1);
    for (let i: usize = 0; i < <usize>d; i++) {
      const pair = <i32>load<u8>(from + (i >> 1));
      const level = (i & 1 ? pair >> 4 : pair & 15) - 8;
      store<f32>(out + (i << 2), <f32>level * half(load<u16>(own + ((i >> 5) << 1))));
    }
    out += <usize>d << 2;
  }
}

/** Rows of a float32 embedding [vocabulary, d]. */
export function embedF32(w: usize, d: i32, ids: usize, rows: i32, out: usize): void {
  const bytes = <usize>d << 2;
  for (let r = 0; r < rows; r++) {
    memory.copy(out, w + <usize>load<i32>(ids + (<usize>r << 2)) * bytes, bytes);
    out += bytes;
  }
}
