/**
 * Rows of an int8 embedding as float32: out[i] = w[ids[i]] x scales[ids[i]].
 *
 * @param w [vocabulary, d] int8, `scales` [vocabulary] f32
 * @param ids [rows] int32
 * @param out [rows, d] f32
 */
export function embedI8(w: usize, scales: usize, d: i32, ids: usize, rows: i32, out: usize): void {
  for (let r = 0; r < rows; r++) {
    const id = <usize>load<i32>(ids + (<usize>r << 2));
    const scale = load<f32>(scales + (id << 2));
    const from = w + id * <usize>d;
    for (let i: usize = 0; i < <usize>d; i++) {
      store<f32>(out + (i << 2), <f32>load<i8>(from + i) * scale);
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
