/**
 * out[r, i] += sum over j of t[r, j] x b[j, i], float32: the second half of an adapter's product. A row gives the same bits
 * whatever rows are beside it.
 *
 * @param t [rows, rank] f32
 * @param b [rank, n] f32
 * @param out [rows, n] f32, rows `ldo` elements apart
 */
export function addLowRank(t: usize, rows: i32, rank: i32, b: usize, n: i32, out: usize, ldo: i32): void {
  const bytes = <usize>n << 2;
  const whole = <usize>(n & ~3) << 2;
  const ranks = <usize>rank << 2;
  for (let r = 0; r < rows; r++, t += ranks, out += <usize>ldo << 2) {
    let i: usize = 0;
    for (; i < whole; i += 16) {
      let sum = f32x4.splat(0);
      let from = b + i;
      for (let j: usize = 0; j < ranks; j += 4, from += bytes) {
        sum = f32x4.add(sum, f32x4.mul(v128.load32_splat(t + j), v128.load(from)));
      }
      v128.store(out + i, f32x4.add(v128.load(out + i), sum));
    }
    for (; i < bytes; i += 4) {
      let sum: f32 = 0;
      let from = b + i;
      for (let j: usize = 0; j < ranks; j += 4, from += bytes) sum += load<f32>(t + j) * load<f32>(from);
      store<f32>(out + i, load<f32>(out + i) + sum);
    }
  }
}
