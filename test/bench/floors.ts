/** The floors: loops of `assembly/floors.ts`, run as WASM modules of their own. */
import type { KernelName } from "../../src/kernels/index.ts";

export interface Floors {
  readOneStream(p: number, n: number): number;
  readFourStreams(p: number, n: number): number;
  dots(n: number): number;
  dotsPerTurn(): number;
}

/** Larger than any last-level cache that a core here gets to itself. */
export const READ_SET_BYTES = 128 * 2 ** 20;

export function instantiateFloors(module: WebAssembly.Module, memory: WebAssembly.Memory): Floors {
  return new WebAssembly.Instance(module, { env: { memory, abort: () => {} } }).exports as unknown as Floors;
}

/** 7-bit digits that the kernel of this module spends on an activation, in units of its own dot. */
export const DIGITS: Record<KernelName, number> = { relaxed: 2, plain: 1 };
