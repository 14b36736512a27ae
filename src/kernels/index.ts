/** The kernel modules: their TypeScript face, and which of the two a machine runs fastest. */
import { EdgeT5Error } from "../errors.ts";

/** Exports of both modules; see the sources in `assembly/` for shapes. Pointers are byte addresses. */
export interface Kernels {
  quantizeRows(x: number, rows: number, k: number, q: number, scales: number): void;
  reluQuantizeRows: Kernels["quantizeRows"];
  normQuantizeRows(
    x: number,
    weight: number,
    rows: number,
    k: number,
    epsilon: number,
    factor: number,
    q: number,
    scales: number,
  ): void;
  linearI8(
    q: number,
    rowScales: number,
    rows: number,
    k: number,
    w: number,
    scales: number,
    sums: number,
    n: number,
    out: number,
    ldo: number,
    accumulate: number,
    scratch: number,
  ): void;
  pairRows(w: number, n: number, k: number, spare: number): number;
  linearPairsI8(
    q: number,
    rowScales: number,
    offsets: number,
    rows: number,
    k: number,
    w: number,
    scales: number,
    n: number,
    out: number,
    ldo: number,
    accumulate: number,
    scratch: number,
  ): void;
  linearI4(
    q: number,
    rowScales: number,
    rows: number,
    k: number,
    w: number,
    scales: number,
    n: number,
    out: number,
    ldo: number,
    accumulate: number,
    scratch: number,
  ): void;
  reluLinearI8(
    x: number,
    rows: number,
    k: number,
    w: number,
    scales: number,
    n: number,
    out: number,
    scratch: number,
  ): void;
  transposeI8(from: number, n: number, k: number, to: number): void;
  rowSums(w: number, n: number, k: number, sums: number): void;
  probeDot(scratch: number): number;
  linearF32(
    x: number,
    rows: number,
    k: number,
    w: number,
    n: number,
    out: number,
    ldo: number,
    accumulate: number,
  ): void;
  addLowRank(t: number, rows: number, rank: number, b: number, n: number, out: number, ldo: number): void;
  embedI8(w: number, scales: number, inPairs: number, d: number, ids: number, rows: number, out: number): void;
  embedI4(w: number, scales: number, d: number, ids: number, rows: number, out: number): void;
  embedF32(w: number, d: number, ids: number, rows: number, out: number): void;
  rmsNorm(x: number, weight: number, out: number, rows: number, d: number, epsilon: number, factor: number): void;
  relu(x: number, n: number): void;
  gatedGelu(gate: number, value: number, n: number): void;
  gatedSilu(gate: number, value: number, n: number): void;
  attendI8(
    q: number,
    ldq: number,
    cache: number,
    room: number,
    bias: number,
    biasHead: number,
    out: number,
    rows: number,
    keys: number,
    heads: number,
    dKv: number,
    scratch: number,
  ): void;
  storeKeysI8(
    from: number,
    ldf: number,
    rows: number,
    heads: number,
    dKv: number,
    cache: number,
    room: number,
    first: number,
  ): void;
  storeValuesI8: Kernels["storeKeysI8"];
  attendF32: Kernels["attendI8"];
  storeKeysF32: Kernels["storeKeysI8"];
  storeValuesF32: Kernels["storeKeysI8"];
  argmax(x: number, n: number): number;
  copyBytes(to: number, from: number, bytes: number): void;
}

export type KernelName = "relaxed" | "plain";

/** A compiled module, not yet tied to a memory. */
export interface KernelModule {
  name: KernelName;
  module: WebAssembly.Module;
}

/** The kernels' own constants lie below this address; an engine's plan begins here. */
export const KERNEL_RESERVED_BYTES = 1024;

export function instantiateKernels(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernels {
  const abort = () => {
    throw new EdgeT5Error("E_KERNELS", "A kernel aborted. Rebuild the kernels: npm run build.");
  };
  return new WebAssembly.Instance(module, { env: { memory, abort } }).exports as unknown as Kernels;
}

/** `probeDot` of a machine that computes the relaxed dot by multiplying in pairs with saturation: SSSE3, AVX2. */
const SATURATING_PAIRS = 65534;

/**
 * Chooses the module for this machine: the relaxed one where its dot product is one instruction (x86 with VNNI, ARM),
 * the plain one elsewhere, where widening to 16 bits needs fewer instructions than two 7-bit digits (README,
 * benchmarks). No clock is needed: the dot's answer outside its range tells how it is computed.
 *
 * @param modules compiled modules; `relaxed` is left out where the runtime does not know relaxed SIMD
 */
export function chooseKernels(modules: { relaxed?: WebAssembly.Module; plain: WebAssembly.Module }): KernelModule {
  if (modules.relaxed) {
    const probe = instantiateKernels(modules.relaxed, new WebAssembly.Memory({ initial: 1 })).probeDot(64);
    if (probe !== SATURATING_PAIRS) return { name: "relaxed", module: modules.relaxed };
  }
  return { name: "plain", module: modules.plain };
}
