/** Memory that threads, kernels and onnxruntime share: a parameter's arrays lie together in one WASM memory. */
import { readFile } from "node:fs/promises";
import { EdgeT5Error } from "../../errors.ts";
import { createOptimizer, type OptimizerOptions } from "./index.ts";
import { type Parameter, sizeOf } from "./optimizer.ts";

/** See src/kernels/assembly/training.ts. */
interface Kernels {
  adamw(
    ...args: [
      ...[values: number, gradient: number, mean: number, square: number, count: number],
      ...[scale: number, beta1: number, rest1: number, beta2: number, rest2: number],
      ...[size: number, inverse: number, epsilon: number, before: number, after: number],
    ]
  ): void;
  sumOfSquares(values: number, count: number): number;
}

export interface Slab {
  kernels: Kernels;
}

type PlacedTensor = SlabTensor & { offset: number };

/** Tensors of one memory, for another thread to make the same parameters of. */
export interface SlabPlan {
  memory: WebAssembly.Memory | null;
  /** Where each tensor's arrays begin, one behind the other: values, gradient, state. */
  tensors: readonly PlacedTensor[];
  /** Without a memory: the arrays themselves. */
  arrays: readonly (readonly Float32Array[])[];
}

const PAGE = 65536;
/** Bytes of a memory: below what 32 bits address. */
const MOST_BYTES = 2 ** 32 - PAGE;
/** Below lie a module's constants. */
const FIRST = 128;
/** Bytes of each array's beginning; kernels read four numbers at a time. */
const ALIGNMENT = 64;

const padded = (length: number) => Math.ceil((length * 4) / ALIGNMENT) * ALIGNMENT;

/** A tensor to find room for. */
export interface SlabTensor {
  name: string;
  shape: readonly number[];
  /** Numbers, all zero, behind the values and behind the gradient: onnxruntime sees them as further rows. */
  behind: number;
}

/** Finds room for tensors and what an optimizer remembers of them. */
export function planSlabs(tensors: readonly SlabTensor[], options: OptimizerOptions): SlabPlan[] {
  const groups: { bytes: number; tensors: PlacedTensor[] }[] = [];
  const alone: SlabPlan[] = [];
  for (const tensor of tensors) {
    const rooms = roomsOf(tensor, options);
    const bytes = rooms.reduce((sum, length) => sum + padded(length), 0);
    if (FIRST + bytes > MOST_BYTES) {
      const arrays = rooms.map((length) => new Float32Array(new SharedArrayBuffer(4 * length)));
      alone.push({ memory: null, tensors: [{ ...tensor, offset: 0 }], arrays: [arrays] });
      continue;
    }
    let group = groups.at(-1);
    if (!group || group.bytes + bytes > MOST_BYTES) {
      group = { bytes: FIRST, tensors: [] };
      groups.push(group);
    }
    group.tensors.push({ ...tensor, offset: group.bytes });
    group.bytes += bytes;
  }
  const plans = groups.map(({ bytes, tensors: members }): SlabPlan => {
    const pages = Math.ceil(bytes / PAGE);
    return {
      memory: new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }),
      tensors: members,
      arrays: [],
    };
  });
  return [...plans, ...alone];
}

/** The parameters of a plan, as this thread sees them. */
export function parametersOf(
  { memory, tensors, arrays }: SlabPlan,
  options: OptimizerOptions,
  module: WebAssembly.Module,
): Parameter[] {
  const slab = memory
    ? { kernels: new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels }
    : null;
  return tensors.map((tensor, i) => {
    const { name, shape, offset } = tensor;
    const lengths = lengthsOf(shape, options);
    let at = offset;
    const views = roomsOf(tensor, options).map((room, j) => {
      const view = memory ? new Float32Array(memory.buffer, at, lengths[j]!) : arrays[i]![j]!.subarray(0, lengths[j]!);
      at += padded(room);
      return view;
    });
    const [values, gradient, ...state] = views as [Float32Array, Float32Array, ...Float32Array[]];
    return { name, shape, values, gradient, state, slab };
  });
}

export async function loadTrainingKernels(): Promise<WebAssembly.Module> {
  try {
    const bytes = await readFile(new URL("../../kernels/build/training.wasm", import.meta.url));
    return await WebAssembly.compile(new Uint8Array(bytes));
  } catch (cause) {
    throw new EdgeT5Error("E_KERNELS", "The trainer's kernels are not built. Run: npm run build.", { cause });
  }
}

/** Numbers of a tensor's arrays: values, gradient, state. */
function lengthsOf(shape: readonly number[], options: OptimizerOptions): number[] {
  const state = createOptimizer(options).stateOf(shape);
  return [sizeOf(shape), sizeOf(shape), ...state.map(({ length }) => length)];
}

/** Numbers that each of its arrays has room for. */
function roomsOf({ shape, behind }: SlabTensor, options: OptimizerOptions): number[] {
  return lengthsOf(shape, options).map((length, i) => (i < 2 ? length + behind : length));
}
