/** The kernels against plain arithmetic in float64, and the two modules against each other, bit for bit. */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { quantizeGroups } from "../../model-split/quantize.ts";
import { chooseKernels, instantiateKernels, type Kernels } from "../../src/kernels/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { float16ToFloat32 } from "../../src/t5/floats.ts";

const BASE = 1024;

class Bench {
  readonly kernels: Kernels;
  readonly floats: Float32Array;
  readonly bytes: Int8Array;
  readonly ints: Int32Array;
  #next = BASE;

  constructor(module: WebAssembly.Module) {
    const memory = new WebAssembly.Memory({ initial: 256 });
    this.kernels = instantiateKernels(module, memory);
    this.floats = new Float32Array(memory.buffer);
    this.bytes = new Int8Array(memory.buffer);
    this.ints = new Int32Array(memory.buffer);
  }

  reserve(bytes: number): number {
    const at = this.#next;
    this.#next += Math.ceil(bytes / 64) * 64;
    return at;
  }

  putFloats(values: ArrayLike<number>): number {
    const at = this.reserve(values.length * 4);
    this.floats.set(values, at / 4);
    return at;
  }

  putBytes(values: ArrayLike<number>): number {
    const at = this.reserve(values.length);
    this.bytes.set(values, at);
    return at;
  }

  read(at: number, n: number): Float32Array {
    return this.floats.slice(at / 4, at / 4 + n);
  }
}

let modules: Record<"relaxed" | "plain", WebAssembly.Module>;

beforeAll(async () => {
  modules = {
    relaxed: (await loadKernels("relaxed")).module,
    plain: (await loadKernels("plain")).module,
  };
});

/** Seeded values, so that a failure repeats. */
function random(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function normals(n: number, seed: number, scale = 1): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: n }, () => (next() + next() + next() + next() - 2) * scale);
}

const weightsOf = (n: number, seed: number) => {
  const next = random(seed);
  return Int8Array.from({ length: n }, () => Math.round(next() * 254) - 127);
};

/** int8 linear layer through the kernels; returns [rows, n] f32. */
function linearI8(
  module: WebAssembly.Module,
  x: Float32Array,
  rows: number,
  k: number,
  w: Int8Array,
  scales: Float32Array,
  before?: Float32Array,
): Float32Array {
  const n = scales.length;
  const bench = new Bench(module);
  const q = bench.reserve(rows * Math.ceil(k / 16) * 32);
  const rowScales = bench.reserve(rows * 4);
  const weights = bench.putBytes(w);
  const weightScales = bench.putFloats(scales);
  const sums = bench.reserve(n * 4);
  const out = before ? bench.putFloats(before) : bench.reserve(rows * n * 4);
  bench.kernels.quantizeRows(bench.putFloats(x), rows, k, q, rowScales);
  bench.kernels.rowSums(weights, n, k, sums);
  const scratch = bench.reserve(Math.max(n * 4 * Math.ceil(k / 1024), 8192 + Math.ceil(rows / 4) * (8 * k + 256)));
  const guard = bench.putBytes(new Int8Array(64).fill(85));
  bench.kernels.linearI8(q, rowScales, rows, k, weights, weightScales, sums, n, out, n, before ? 1 : 0, scratch);
  expect(bench.read(guard, 16)).toEqual(new Float32Array(new Int8Array(64).fill(85).buffer));
  return bench.read(out, rows * n);
}

const shapes = fc.record({
  // From 12 and 24 rows on both modules lay panels.
  rows: fc.oneof(fc.integer({ min: 1, max: 14 }), fc.integer({ min: 22, max: 29 })),
  k: fc.oneof(fc.constantFrom(16, 48, 64, 80, 512, 528), fc.integer({ min: 1, max: 100 })),
  n: fc.integer({ min: 1, max: 21 }),
  seed: fc.integer({ min: 1 }),
});

/** What {@link linearI8} gives, of rows in pairs, with three numbers between the rows it puts out; null for a shape it leaves. */
function linearPairsI8(
  module: WebAssembly.Module,
  x: Float32Array,
  rows: number,
  k: number,
  w: Int8Array,
  scales: Float32Array,
  before?: Float32Array,
): Float32Array | null {
  const n = scales.length;
  const ldo = n + 3;
  const bench = new Bench(module);
  const { kernels } = bench;
  const q = bench.reserve(rows * Math.ceil(k / 16) * 32);
  const rowScales = bench.reserve(rows * 4);
  const weights = bench.putBytes(w);
  const weightScales = bench.putFloats(scales);
  const out = bench.reserve(rows * ldo * 4);
  for (let row = 0; before && row < rows; row++) {
    bench.floats.set(before.subarray(row * n, (row + 1) * n), out / 4 + row * ldo);
  }
  kernels.quantizeRows(bench.putFloats(x), rows, k, q, rowScales);
  if (kernels.pairRows(weights, n, k, bench.reserve(k)) === 0) return null;
  const offsets = bench.reserve(rows * Math.ceil(k / 2048) * 4);
  const pieces = Math.ceil(k / 2048);
  const groups = Math.ceil(rows / 4);
  const scratch = bench.reserve(Math.max(n * 4 * pieces, 8192 + groups * (8 * k + 128 + (pieces > 1 ? 256 : 0))));
  const guard = bench.putBytes(new Int8Array(64).fill(85));
  const adds = before ? 1 : 0;
  kernels.linearPairsI8(q, rowScales, offsets, rows, k, weights, weightScales, n, out, ldo, adds, scratch);
  expect(bench.read(guard, 16)).toEqual(new Float32Array(new Int8Array(64).fill(85).buffer));
  const all = bench.read(out, rows * ldo);
  return Float32Array.from({ length: rows * n }, (_, i) => all[Math.floor(i / n) * ldo + (i % n)] ?? Number.NaN);
}

/** relu and the linear layer behind it: over weights [n, k], and over the same ones by the unit; added to `before`. */
function reluLinears(
  module: WebAssembly.Module,
  x: Float32Array,
  rows: number,
  k: number,
  w: Int8Array,
  scales: Float32Array,
  before: Float32Array,
) {
  const n = scales.length;
  const bench = new Bench(module);
  const { kernels } = bench;
  const input = bench.putFloats(x);
  const q = bench.reserve(rows * k * 2);
  const rowScales = bench.reserve(rows * 4);
  const weights = bench.putBytes(w);
  const byUnit = bench.reserve(w.length);
  const weightScales = bench.putFloats(scales);
  const sums = bench.reserve(n * 4);
  const dense = bench.putFloats(before);
  const sparse = bench.putFloats(before);
  const scratch = bench.reserve(rows * (4 * k + 20) + 6 * k + 44 + Math.ceil(k / 2048) * rows * 4 * n + 64 * n);
  const end = bench.reserve(64);
  bench.bytes.fill(77, end, end + 64);
  kernels.rowSums(weights, n, k, sums);
  kernels.reluQuantizeRows(input, rows, k, q, rowScales);
  kernels.linearI8(q, rowScales, rows, k, weights, weightScales, sums, n, dense, n, 1, scratch);
  kernels.transposeI8(weights, n, k, byUnit);
  kernels.reluLinearI8(input, rows, k, byUnit, weightScales, n, sparse, scratch);
  expect(bench.bytes.slice(end, end + 64).every((byte) => byte === 77)).toBe(true);
  return { dense: bench.read(dense, rows * n), sparse: bench.read(sparse, rows * n) };
}

describe("reluLinearI8", () => {
  const shapes = fc.record({
    rows: fc.integer({ min: 1, max: 6 }),
    k: fc.integer({ min: 1, max: 24 }).map((blocks) => 16 * blocks),
    n: fc.integer({ min: 1, max: 6 }).map((blocks) => 16 * blocks),
    zeros: fc.constantFrom(0, 0.5, 0.9, 0.99, 1),
    seed: fc.integer({ min: 1 }),
  });

  test("gives what relu and linearI8 give, bit for bit, in both modules and however many units are zero", () => {
    fc.assert(
      fc.property(shapes, ({ rows, k, n, zeros, seed }) => {
        const next = random(seed);
        const x = normals(rows * k, seed + 1, 3).map((v) => (next() < zeros ? -Math.abs(v) : v));
        const scales = Float32Array.from({ length: n }, () => 0.001 + next() / 100);
        const before = normals(rows * n, seed + 2);
        const relaxed = reluLinears(modules.relaxed, x, rows, k, weightsOf(n * k, seed), scales, before);
        const plain = reluLinears(modules.plain, x, rows, k, weightsOf(n * k, seed), scales, before);
        expect(relaxed.sparse).toEqual(relaxed.dense);
        expect(plain.sparse).toEqual(relaxed.dense);
      }),
      { numRuns: 200 },
    );
  });

  test.each([2048, 4096])("holds the largest sums that %i units can have", (k) => {
    for (const name of ["relaxed", "plain"] as const) {
      for (const rows of [1, 3]) {
        const x = new Float32Array(rows * k).fill(5);
        const w = new Int8Array(16 * k).fill(-127);
        const { dense, sparse } = reluLinears(
          modules[name],
          x,
          rows,
          k,
          w,
          new Float32Array(16).fill(1),
          new Float32Array(rows * 16),
        );
        expect(sparse).toEqual(dense);
        expect((sparse[0] ?? 0) / (-5 * 127 * k)).toBeCloseTo(1, 5);
      }
    }
  });
});

describe("linearI8", () => {
  test("gives the same bits in the relaxed and the plain module, for every shape", () => {
    fc.assert(
      fc.property(shapes, ({ rows, k, n, seed }) => {
        const x = normals(rows * k, seed, 3);
        // A layer of one weight, and that one 0, gives zeros.
        const w = weightsOf(n * k, seed + 1).map((value) => value || 1);
        const scales = normals(n, seed + 2, 0.01).map(Math.abs);
        const relaxed = linearI8(modules.relaxed, x, rows, k, w, scales);
        expect(relaxed).toEqual(linearI8(modules.plain, x, rows, k, w, scales));
        expect(relaxed.some((value) => value !== 0)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  test("gives the same bits for rows longer than an int32 holds", () => {
    for (const [rows, k, n] of [
      [5, 64, 9],
      [7, 2064, 6],
      [1, 3072, 10],
      [4, 4096, 4],
      [26, 2064, 19],
      [24, 4096, 16],
    ] as const) {
      const x = normals(rows * k, k, 3);
      const w = weightsOf(n * k, k + 1);
      const scales = normals(n, k + 2, 0.01).map(Math.abs);
      expect(linearI8(modules.relaxed, x, rows, k, w, scales)).toEqual(linearI8(modules.plain, x, rows, k, w, scales));
    }
  });

  test("is the float product within the rounding of 14-bit activations", () => {
    fc.assert(
      fc.property(shapes, ({ rows, k, n, seed }) => {
        const x = normals(rows * k, seed, 3);
        const w = weightsOf(n * k, seed + 1);
        const scales = normals(n, seed + 2, 0.01).map(Math.abs);
        const out = linearI8(modules.plain, x, rows, k, w, scales);
        for (let r = 0; r < rows; r++) {
          const row = x.subarray(r * k, (r + 1) * k);
          const step = row.reduce((m, v) => Math.max(m, Math.abs(v)), 0) / 8191;
          for (let c = 0; c < n; c++) {
            let exact = 0;
            let magnitude = 0;
            for (let i = 0; i < k; i++) {
              exact += (row[i] ?? 0) * (w[c * k + i] ?? 0) * (scales[c] ?? 0);
              magnitude += Math.abs((w[c * k + i] ?? 0) * (scales[c] ?? 0));
            }
            // Half a step an element, and float32's rounding of the result.
            const bound = (step / 2) * magnitude * 1.001 + Math.abs(exact) * 2 ** -22 + 1e-12;
            expect(Math.abs((out[r * n + c] ?? 0) - exact)).toBeLessThanOrEqual(bound);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test.each(["relaxed", "plain"] as const)("adds to what is there when asked: %s", (name) => {
    for (const [rows, k, n] of [
      [5, 48, 6],
      [26, 48, 19],
    ] as const) {
      const x = normals(rows * k, 7);
      const w = weightsOf(n * k, 8);
      const scales = new Float32Array(n).fill(0.02);
      const before = normals(rows * n, 9);
      const product = linearI8(modules[name], x, rows, k, w, scales);
      const sum = linearI8(modules[name], x, rows, k, w, scales, before);
      expect(sum).toEqual(before.map((value, i) => Math.fround(value + (product[i] ?? 0))));
    }
  });

  test("does not overflow on the longest rows of extreme values", () => {
    for (const k of [2048, 16384]) {
      const scales = new Float32Array(10).fill(1);
      // Rows of the smallest and of the largest weights, side by side in every order.
      const signs = [-1, -1, 1, -1, -1, 1, 1, 1, -1, 1];
      const w = Int8Array.from({ length: 10 * k }, (_, i) => 127 * (signs[Math.floor(i / k)] ?? 0));
      for (const level of [1, -1]) {
        for (const rows of [1, 4, 9, 25]) {
          const x = new Float32Array(rows * k).fill(level);
          const outs = [
            linearI8(modules.relaxed, x, rows, k, w, scales),
            linearI8(modules.plain, x, rows, k, w, scales),
            linearPairsI8(modules.plain, x, rows, k, w, scales),
          ];
          for (const out of outs) {
            const expected = Float32Array.from({ length: rows * 10 }, (_, i) => 127 * k * level * (signs[i % 10] ?? 0));
            expect(out).toEqual(expected);
          }
        }
      }
    }
  });

  test("gives the same bits of rows in pairs, set or added", () => {
    let pairs = 0;
    fc.assert(
      fc.property(shapes, fc.boolean(), ({ rows, k, n, seed }, adds) => {
        const x = normals(rows * k, seed, 3);
        const w = weightsOf(n * k, seed + 1);
        const scales = normals(n, seed + 2, 0.01).map(Math.abs);
        const before = adds ? normals(rows * n, seed + 3) : undefined;
        const paired = linearPairsI8(modules.plain, x, rows, k, w, scales, before);
        expect(paired === null).toBe(n % 2 !== 0 || k % 16 !== 0);
        if (!paired) return;
        pairs++;
        expect(paired).toEqual(linearI8(modules.relaxed, x, rows, k, w, scales, before));
      }),
      { numRuns: 300 },
    );
    expect(pairs).toBeGreaterThan(50);
    for (const [rows, k, n] of [
      [1, 512, 512],
      [1, 512, 94],
      [7, 2064, 6],
      [1, 3072, 66],
      [4, 4112, 4],
      [32, 512, 94],
      [33, 2048, 66],
      [13, 4112, 22],
    ] as const) {
      const x = normals(rows * k, k, 3);
      const w = weightsOf(n * k, k + 1);
      const scales = normals(n, k + 2, 0.01).map(Math.abs);
      for (const before of [undefined, normals(rows * n, k + 3)]) {
        const paired = linearPairsI8(modules.plain, x, rows, k, w, scales, before);
        expect(paired).toEqual(linearI8(modules.relaxed, x, rows, k, w, scales, before));
      }
    }
  });

  test("leaves rows as they are in the relaxed module", () => {
    expect(
      linearPairsI8(modules.relaxed, normals(16, 1), 1, 16, weightsOf(32, 1), new Float32Array([1, 1])),
    ).toBeNull();
  });

  test("embeds the same from rows in pairs", () => {
    const bench = new Bench(modules.plain);
    const d = 32;
    const table = bench.putBytes(weightsOf(6 * d, 3));
    const scales = bench.putFloats(normals(6, 4));
    const ids = bench.reserve(16);
    bench.ints.set([4, 5, 0, 4], ids / 4);
    const out = bench.reserve(4 * d * 4);
    bench.kernels.embedI8(table, scales, 0, d, ids, 4, out);
    const before = bench.read(out, 4 * d);
    expect(bench.kernels.pairRows(table, 6, d, bench.reserve(d))).toBe(1);
    bench.floats.fill(Number.NaN, out / 4, out / 4 + 4 * d);
    bench.kernels.embedI8(table, scales, 1, d, ids, 4, out);
    expect(bench.read(out, 4 * d)).toEqual(before);
  });

  test("rounds activations with one outlier no worse than a 14-bit step of the outlier", () => {
    const k = 64;
    const x = normals(k, 3);
    x[5] = 60;
    const w = weightsOf(2 * k, 4);
    const out = linearI8(modules.relaxed, x, 1, k, w, new Float32Array([1, 1]));
    const exact = x.reduce((sum, value, i) => sum + value * (w[i] ?? 0), 0);
    expect(Math.abs((out[0] ?? 0) - exact)).toBeLessThan((60 / 8191 / 2) * 127 * k);
  });

  test("turns a row of zeros into zeros", () => {
    const out = linearI8(modules.relaxed, new Float32Array(32), 2, 16, weightsOf(32, 1), new Float32Array([1, 1]));
    expect([...out]).toEqual([0, 0, 0, 0]);
  });
});

/** int4 weights of normal numbers: their nibbles and scales, and what they stand for. */
function int4Of(n: number, k: number, seed: number) {
  const groups = Math.ceil(k / 32);
  const nibbles = new Uint8Array(n * groups * 16);
  const scales = new Uint16Array(n * groups);
  quantizeGroups(normals(n * k, seed), k, nibbles, scales);
  const weights = Float64Array.from({ length: n * k }, (_, i) => {
    const [row, column] = [Math.floor(i / k), i % k];
    const byte = nibbles[row * groups * 16 + (column >> 1)] ?? 0;
    const level = (column & 1 ? byte >> 4 : byte & 15) - 8;
    return level * float16ToFloat32(scales[row * groups + (column >> 5)] ?? 0);
  });
  return { nibbles, scales, weights, groups };
}

function linearI4(
  module: WebAssembly.Module,
  x: Float32Array,
  rows: number,
  k: number,
  n: number,
  { nibbles, scales, groups }: ReturnType<typeof int4Of>,
  before?: Float32Array,
): Float32Array {
  const bench = new Bench(module);
  const q = bench.reserve(rows * Math.ceil(k / 16) * 32);
  // What was there before must not count beyond a row's end.
  bench.bytes.fill(99, q, q + rows * Math.ceil(k / 16) * 32);
  const rowScales = bench.reserve(rows * 4);
  const weights = bench.putBytes(nibbles);
  const weightScales = bench.putBytes(new Uint8Array(scales.buffer));
  const out = before ? bench.putFloats(before) : bench.reserve(rows * n * 4);
  const scratch = bench.reserve(groups * ((rows + 3) * 68 + 288) + (rows + 3) * 32 + 512);
  bench.kernels.quantizeRows(bench.putFloats(x), rows, k, q, rowScales);
  bench.kernels.linearI4(q, rowScales, rows, k, weights, weightScales, n, out, n, before ? 1 : 0, scratch);
  return bench.read(out, rows * n);
}

describe("linearI4", () => {
  test("gives the same bits in the relaxed and the plain module, and for a row alone, for every shape", () => {
    fc.assert(
      fc.property(shapes, ({ rows, k, n, seed }) => {
        const x = normals(rows * k, seed, 3);
        const w = int4Of(n, k, seed + 1);
        const relaxed = linearI4(modules.relaxed, x, rows, k, n, w);
        expect(relaxed).toEqual(linearI4(modules.plain, x, rows, k, n, w));
        const last = linearI4(modules.plain, x.slice((rows - 1) * k), 1, k, n, w);
        expect(relaxed.slice((rows - 1) * n)).toEqual(last);
      }),
      { numRuns: 150 },
    );
  });

  test("is the float product within the rounding of 14-bit activations", () => {
    fc.assert(
      fc.property(shapes, ({ rows, k, n, seed }) => {
        const x = normals(rows * k, seed, 3);
        const w = int4Of(n, k, seed + 1);
        const out = linearI4(modules.plain, x, rows, k, n, w);
        for (let r = 0; r < rows; r++) {
          const row = x.subarray(r * k, (r + 1) * k);
          const step = row.reduce((m, v) => Math.max(m, Math.abs(v)), 0) / 8191;
          for (let c = 0; c < n; c++) {
            let exact = 0;
            let magnitude = 0;
            let size = 0;
            for (let i = 0; i < k; i++) {
              const weight = w.weights[c * k + i] ?? 0;
              exact += (row[i] ?? 0) * weight;
              magnitude += Math.abs(weight);
              size += Math.abs((row[i] ?? 0) * weight);
            }
            // Half a step an element, and float32's rounding of each group's sum.
            const bound = (step / 2) * magnitude * 1.001 + size * 2 ** -20 + 1e-12;
            expect(Math.abs((out[r * n + c] ?? 0) - exact)).toBeLessThanOrEqual(bound);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test.each([
    [5, 48, 7],
    [9, 48, 19],
  ])("adds to what is there when asked, every column once: %i rows, %i to %i", (rows, k, n) => {
    const x = normals(rows * k, 7);
    const w = int4Of(n, k, 8);
    const before = normals(rows * n, 9);
    const product = linearI4(modules.plain, x, rows, k, n, w);
    const sum = linearI4(modules.plain, x, rows, k, n, w, before);
    expect(sum).toEqual(before.map((value, i) => Math.fround(value + (product[i] ?? 0))));
  });

  test("embedI4 gives rows of the table", () => {
    const [rows, d] = [6, 48];
    const table = int4Of(rows, d, 5);
    const ids = [4, 0, 5];
    for (const module of Object.values(modules)) {
      const bench = new Bench(module);
      const at = bench.reserve(12);
      bench.ints.set(ids, at / 4);
      const out = bench.reserve(3 * d * 4);
      const scales = bench.putBytes(new Uint8Array(table.scales.buffer));
      bench.kernels.embedI4(bench.putBytes(table.nibbles), scales, d, at, 3, out);
      const expected = ids.flatMap((id) => [...table.weights.subarray(id * d, (id + 1) * d)].map(Math.fround));
      expect([...bench.read(out, 3 * d)]).toEqual(expected);
    }
  });
});

describe.each(["relaxed", "plain"] as const)("%s float kernels", (name) => {
  test("linearF32 is the product", () => {
    fc.assert(
      fc.property(shapes, ({ rows, k, n, seed }) => {
        const bench = new Bench(modules[name]);
        const x = normals(rows * k, seed);
        const w = normals(n * k, seed + 1);
        const out = bench.reserve(rows * n * 4);
        bench.kernels.linearF32(bench.putFloats(x), rows, k, bench.putFloats(w), n, out, n, 0);
        const result = bench.read(out, rows * n);
        for (let r = 0; r < rows; r++) {
          for (let c = 0; c < n; c++) {
            let exact = 0;
            for (let i = 0; i < k; i++) exact += (x[r * k + i] ?? 0) * (w[c * k + i] ?? 0);
            expect(Math.abs((result[r * n + c] ?? 0) - exact)).toBeLessThan(1e-4);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test("addLowRank adds the product, and a row's bits are its own whatever is beside it", () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: 0, max: 5 }), ({ rows, k: rank, n, seed }, gap) => {
        const bench = new Bench(modules[name]);
        const t = normals(rows * rank, seed);
        const b = normals(rank * n, seed + 1);
        const ldo = n + gap;
        const before = normals(rows * ldo, seed + 2);
        const [atT, atB, out] = [bench.putFloats(t), bench.putFloats(b), bench.putFloats(before)];
        bench.kernels.addLowRank(atT, rows, rank, atB, n, out, ldo);
        const result = bench.read(out, rows * ldo);
        for (let r = 0; r < rows; r++) {
          for (let c = 0; c < ldo; c++) {
            let exact = before[r * ldo + c] ?? 0;
            // What lies between two rows stays.
            if (c < n) for (let j = 0; j < rank; j++) exact += (t[r * rank + j] ?? 0) * (b[j * n + c] ?? 0);
            expect(Math.abs((result[r * ldo + c] ?? 0) - exact)).toBeLessThan(c < n ? 1e-4 : 1e-30);
          }
          const alone = bench.putFloats(before.subarray(r * ldo, (r + 1) * ldo));
          bench.kernels.addLowRank(atT + r * rank * 4, 1, rank, atB, n, alone, ldo);
          expect(bench.read(alone, ldo)).toEqual(result.slice(r * ldo, (r + 1) * ldo));
        }
      }),
      { numRuns: 60 },
    );
  });

  test("rmsNorm divides by the root mean square and multiplies by weight and factor", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1 }), (d, seed) => {
        const bench = new Bench(modules[name]);
        const x = normals(2 * d, seed, 5);
        const weight = normals(d, seed + 1);
        const out = bench.reserve(2 * d * 4);
        bench.kernels.rmsNorm(bench.putFloats(x), bench.putFloats(weight), out, 2, d, 1e-6, 0.5);
        const result = bench.read(out, 2 * d);
        for (let r = 0; r < 2; r++) {
          const row = x.subarray(r * d, (r + 1) * d);
          const mean = row.reduce((sum, value) => sum + value * value, 0) / d;
          row.forEach((value, i) => {
            const exact = (value / Math.sqrt(mean + 1e-6)) * (weight[i] ?? 0) * 0.5;
            expect(Math.abs((result[r * d + i] ?? 0) - exact)).toBeLessThan(1e-5 * Math.max(1, Math.abs(exact)));
          });
        }
      }),
      { numRuns: 60 },
    );
  });

  test("attendF32 is softmax(q k + bias) v for each head", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 37 }),
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom(4, 10, 16, 32, 64),
        fc.boolean(),
        fc.integer({ min: 1 }),
        (rows, keys, heads, dKv, biased, seed) => {
          const bench = new Bench(modules[name]);
          const inner = heads * dKv;
          const q = normals(rows * inner, seed);
          const room = keys + 3;
          const k = normals(keys * inner, seed + 1);
          const v = normals(keys * inner, seed + 2);
          const width = rows + keys - 1;
          const table = normals(heads * width, seed + 3);
          const bias = biased ? bench.putFloats(table) + (rows - 1) * 4 : 0;
          const out = bench.reserve(rows * inner * 4);
          const scores = bench.reserve(keys * 4);
          const cache = bench.reserve(2 * heads * room * dKv * 4);
          bench.kernels.storeKeysF32(bench.putFloats(k), inner, keys, heads, dKv, cache, room, 0);
          bench.kernels.storeValuesF32(bench.putFloats(v), inner, keys, heads, dKv, cache, room, 0);
          bench.kernels.attendF32(
            bench.putFloats(q),
            inner,
            cache,
            room,
            bias,
            width,
            out,
            rows,
            keys,
            heads,
            dKv,
            scores,
          );
          const result = bench.read(out, rows * inner);
          for (let r = 0; r < rows; r++) {
            for (let h = 0; h < heads; h++) {
              const logits = Array.from({ length: keys }, (_, j) => {
                let dot = biased ? (table[h * width + j - r + rows - 1] ?? 0) : 0;
                for (let i = 0; i < dKv; i++)
                  dot += (q[r * inner + h * dKv + i] ?? 0) * (k[j * inner + h * dKv + i] ?? 0);
                return dot;
              });
              const largest = Math.max(...logits);
              const weights = logits.map((logit) => Math.exp(logit - largest));
              const total = weights.reduce((a, b) => a + b, 0);
              for (let i = 0; i < dKv; i++) {
                const exact = weights.reduce((sum, p, j) => sum + (p / total) * (v[j * inner + h * dKv + i] ?? 0), 0);
                expect(Math.abs((result[r * inner + h * dKv + i] ?? 0) - exact)).toBeLessThan(2e-5);
              }
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("gatedGelu is gelu by tanh times the value; relu cuts at zero", () => {
    const bench = new Bench(modules[name]);
    const gate = normals(1003, 1, 20);
    const value = normals(1003, 2);
    const at = bench.putFloats(gate);
    bench.kernels.gatedGelu(at, bench.putFloats(value), 1003);
    bench.read(at, 1003).forEach((result, i) => {
      const x = gate[i] ?? 0;
      const exact = 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))) * (value[i] ?? 0);
      expect(Math.abs(result - exact)).toBeLessThan(2e-6 * Math.max(1, Math.abs(x)));
    });
    const cut = bench.putFloats(gate);
    bench.kernels.relu(cut, 1003);
    expect(bench.read(cut, 1003)).toEqual(gate.map((x) => Math.max(x, 0)));
  });

  test("gatedSilu is x times the logistic of x, times the value, far out too", () => {
    const bench = new Bench(modules[name]);
    const gate = Float32Array.from([...normals(1000, 1, 20), 200, -200, 0]);
    const value = normals(1003, 2);
    const at = bench.putFloats(gate);
    bench.kernels.gatedSilu(at, bench.putFloats(value), 1003);
    bench.read(at, 1003).forEach((result, i) => {
      const x = gate[i] ?? 0;
      const exact = (x / (1 + Math.exp(-x))) * (value[i] ?? 0);
      expect(Math.abs(result - exact)).toBeLessThan(2e-6 * Math.max(1, Math.abs(x)));
    });
  });

  test("argmax finds the largest, the first of equals, wherever it stands", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 1, maxLength: 40 }), (values) => {
        const bench = new Bench(modules[name]);
        expect(bench.kernels.argmax(bench.putFloats(values), values.length)).toBe(values.indexOf(Math.max(...values)));
      }),
    );
  });

  test("embeddings are rows of the table", () => {
    const bench = new Bench(modules[name]);
    const d = 12;
    const table = weightsOf(5 * d, 3);
    const scales = normals(5, 4);
    const ids = bench.reserve(16);
    bench.ints.set([4, 0, 4], ids / 4);
    const out = bench.reserve(3 * d * 4);
    const at = bench.putBytes(table);
    const scalesAt = bench.putFloats(scales);
    bench.kernels.embedI8(at, scalesAt, 0, d, ids, 3, out);
    const expected = [4, 0, 4].flatMap((id) =>
      [...table.subarray(id * d, (id + 1) * d)].map((weight) => Math.fround(weight * (scales[id] ?? 0))),
    );
    expect([...bench.read(out, 3 * d)]).toEqual(expected);
  });
});

describe("quantizing what is computed on the way", () => {
  /** Both modules' bytes and scales of a kernel that writes `rows` quantized rows of `k` numbers. */
  function quantized(
    module: WebAssembly.Module,
    rows: number,
    k: number,
    run: (bench: Bench, q: number, scales: number) => void,
  ) {
    const bench = new Bench(module);
    const bytes = rows * Math.ceil(k / 16) * 32;
    const [q, scales] = [bench.reserve(bytes), bench.reserve(rows * 4)];
    run(bench, q, scales);
    return { levels: levelsOf(bench, q, rows, k, module), scales: bench.read(scales, rows) };
  }

  /** Levels of quantized rows, whatever the module writes them as. */
  function levelsOf(bench: Bench, q: number, rows: number, k: number, module: WebAssembly.Module): number[] {
    const bytes = new Uint8Array(bench.bytes.buffer);
    const words = new Int16Array(bench.bytes.buffer);
    return Array.from({ length: rows * k }, (_, i) => {
      const [row, at] = [Math.floor(i / k), i % k];
      const block = q + row * Math.ceil(k / 16) * 32 + Math.floor(at / 16) * 32;
      if (module === modules.plain) return words[block / 2 + (at % 16)] ?? 0;
      return (bytes[block + (at % 16)] ?? 0) * 128 + (bytes[block + 16 + (at % 16)] ?? 0) - 8192;
    });
  }

  test("normQuantizeRows is rmsNorm and 14 bits, the same in both modules", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 90 }),
        fc.integer({ min: 1 }),
        (rows, k, seed) => {
          const x = normals(rows * k, seed, 5);
          const weight = normals(k, seed + 1);
          const factor = 0.25;
          const run = (module: WebAssembly.Module) =>
            quantized(module, rows, k, (bench, q, scales) =>
              bench.kernels.normQuantizeRows(
                bench.putFloats(x),
                bench.putFloats(weight),
                rows,
                k,
                1e-6,
                factor,
                q,
                scales,
              ),
            );
          const relaxed = run(modules.relaxed);
          expect(run(modules.plain)).toEqual(relaxed);
          for (let row = 0; row < rows; row++) {
            const own = x.subarray(row * k, (row + 1) * k);
            const root = Math.sqrt(own.reduce((sum, value) => sum + value * value, 0) / k + 1e-6);
            for (let i = 0; i < k; i++) {
              const exact = ((own[i] ?? 0) / root) * (weight[i] ?? 0) * factor;
              const scale = relaxed.scales[row] ?? 0;
              expect(Math.abs((relaxed.levels[row * k + i] ?? 0) * scale - exact)).toBeLessThanOrEqual(
                scale * 0.51 + 1e-9,
              );
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("reluQuantizeRows is quantizeRows of what is above zero", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 90 }),
        fc.integer({ min: 1 }),
        (rows, k, seed) => {
          const x = normals(rows * k, seed, 5);
          for (const module of Object.values(modules)) {
            const fused = quantized(module, rows, k, (bench, q, scales) =>
              bench.kernels.reluQuantizeRows(bench.putFloats(x), rows, k, q, scales),
            );
            const apart = quantized(module, rows, k, (bench, q, scales) =>
              bench.kernels.quantizeRows(bench.putFloats(x.map((value) => Math.max(value, 0))), rows, k, q, scales),
            );
            expect(fused).toEqual(apart);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("attendI8", () => {
  /** A shape, and seeded queries, keys and values. */
  const shapes = fc.record({
    rows: fc.integer({ min: 1, max: 11 }),
    keys: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 70 }) }, fc.constantFrom(1024, 1030)),
    heads: fc.integer({ min: 1, max: 3 }),
    dKv: fc.constantFrom(1, 4, 6, 10, 16, 23, 24, 32, 64),
    biased: fc.boolean(),
    seed: fc.integer({ min: 1 }),
  });
  type Shape = Record<"rows" | "keys" | "heads" | "dKv" | "seed", number> & { biased: boolean };

  /** @param stretch how many tokens are stored by one call */
  function attend(module: WebAssembly.Module, { rows, keys, heads, dKv, biased, seed }: Shape, stretch: number) {
    const bench = new Bench(module);
    const inner = heads * dKv;
    const room = Math.ceil(keys / 16) * 16 + 16;
    const dPadded = Math.ceil(dKv / 4) * 4;
    const q = bench.putFloats(normals(rows * inner, seed, 2));
    const k = bench.putFloats(normals(keys * inner, seed + 1));
    const v = bench.putFloats(normals(keys * inner, seed + 2));
    const width = rows + keys - 1;
    const table = bench.putFloats([...normals(heads * width, seed + 3), ...new Float32Array(16)]);
    const cacheBytes = heads * room * (2 * dPadded + 12);
    const cache = bench.reserve(cacheBytes);
    // What lay there before must not matter.
    bench.floats.fill(Number.NaN, cache / 4, (cache + cacheBytes) / 4);
    for (let first = 0; first < keys; first += stretch) {
      const count = Math.min(stretch, keys - first);
      bench.kernels.storeKeysI8(k + first * inner * 4, inner, count, heads, dKv, cache, room, first);
      bench.kernels.storeValuesI8(v + first * inner * 4, inner, count, heads, dKv, cache, room, first);
    }
    const out = bench.reserve((rows * inner + 4) * 4);
    bench.floats.fill(7, out / 4, out / 4 + rows * inner + 4);
    const blocks = Math.ceil(keys / 16);
    const scratch = bench.reserve(8 * (blocks * 112 + 3 * (dKv + 3) + 20) + 144);
    const guard = bench.putFloats(new Float32Array(16).fill(3));
    const bias = biased ? table + (rows - 1) * 4 : 0;
    bench.kernels.attendI8(q, inner, cache, room, bias, width, out, rows, keys, heads, dKv, scratch);
    expect(bench.read(guard, 16)).toEqual(new Float32Array(16).fill(3));
    return { out: bench.read(out, rows * inner), beyond: bench.read(out + rows * inner * 4, 4) };
  }

  test("gives the same bits in the relaxed and the plain module, whether tokens are stored at once or one by one", () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const { out, beyond } = attend(modules.relaxed, shape, shape.keys);
        expect(attend(modules.plain, shape, shape.keys).out).toEqual(out);
        expect(attend(modules.relaxed, shape, 1).out).toEqual(out);
        expect([...beyond]).toEqual([7, 7, 7, 7]);
      }),
      { numRuns: 60 },
    );
  });

  test("is softmax(q k + bias) v of the rounded keys and values, within 14-bit queries and weights", () => {
    /** As the cache keeps it: 8 bits a head and token. */
    const rounded = (values: Float32Array, dKv: number) =>
      values.map((_, i) => {
        const head = values.subarray(i - (i % dKv), i - (i % dKv) + dKv);
        const largest = head.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        return (Math.round(((values[i] ?? 0) * 127) / largest) * largest) / 127;
      });
    fc.assert(
      fc.property(shapes, (shape) => {
        const { rows, keys, heads, dKv, biased, seed } = shape;
        const inner = heads * dKv;
        const q = normals(rows * inner, seed, 2);
        const k = rounded(normals(keys * inner, seed + 1), dKv);
        const v = rounded(normals(keys * inner, seed + 2), dKv);
        const width = rows + keys - 1;
        const table = normals(heads * width, seed + 3);
        const { out } = attend(modules.relaxed, shape, keys);
        for (let r = 0; r < rows; r++) {
          for (let h = 0; h < heads; h++) {
            const logits = Array.from({ length: keys }, (_, j) => {
              let dot = biased ? (table[h * width + j - r + rows - 1] ?? 0) : 0;
              for (let i = 0; i < dKv; i++) {
                dot += (q[r * inner + h * dKv + i] ?? 0) * (k[j * inner + h * dKv + i] ?? 0);
              }
              return dot;
            });
            const largest = Math.max(...logits);
            const weights = logits.map((logit) => Math.exp(logit - largest));
            const total = weights.reduce((a, b) => a + b, 0);
            for (let i = 0; i < dKv; i++) {
              const exact = weights.reduce((sum, p, j) => sum + (p / total) * (v[j * inner + h * dKv + i] ?? 0), 0);
              expect(Math.abs((out[r * inner + h * dKv + i] ?? 0) - exact)).toBeLessThan(1e-2);
            }
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test("mixes more tokens than an int32 holds at once", () => {
    const shape = { rows: 1, keys: 3000, heads: 1, dKv: 16, biased: false, seed: 5 };
    const { out } = attend(modules.relaxed, shape, shape.keys);
    expect(attend(modules.plain, shape, shape.keys).out).toEqual(out);
    for (const value of out) expect(Math.abs(value)).toBeLessThan(2);
  });
});

test("the module is chosen by what the relaxed dot answers outside its range", () => {
  const probe = instantiateKernels(modules.relaxed, new WebAssembly.Memory({ initial: 1 })).probeDot(64);
  expect([129540, -508, 65534]).toContain(probe);
  expect(chooseKernels(modules).name).toBe(probe === 65534 ? "plain" : "relaxed");
  expect(chooseKernels({ plain: modules.plain }).name).toBe("plain");
});
