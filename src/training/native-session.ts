/**
 * onnxruntime's own C interface, for training: its Node binding copies each output into a new array at every run, which costs
 * a step of T5-small a tenth of its time, and a model's gradients the same memory again. Here onnxruntime writes into the
 * arrays that it is given.
 */
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { dirname, join } from "node:path";
import type { LibraryHandle, TypeObject } from "koffi";
import type { Tensor } from "onnxruntime-node";

/** What a run needs of a session. */
export interface StepSession {
  readonly outputNames: readonly string[];
  /** @param into outputs to be computed, and where: null for one that the session makes room for */
  run(
    feeds: Readonly<Record<string, Tensor>>,
    into: Readonly<Record<string, Tensor | null>>,
  ): Promise<Readonly<Record<string, { data: unknown }>>>;
  release(): Promise<void>;
}

type Pointer = bigint;
type Call = (...args: unknown[]) => unknown;

/** Places in `OrtApi`, to which versions only ever add at its end (onnxruntime_c_api.h), and what stands there. */
const FUNCTIONS = {
  GetErrorMessage: [2, "const char *GetErrorMessage(void *)"],
  CreateEnv: [3, "void *CreateEnv(int, const char *, _Out_ void **)"],
  CreateSessionFromArray: [8, "void *CreateSessionFromArray(void *, const void *, size_t, void *, _Out_ void **)"],
  Run: [9, "void *Run(void *, void *, const char **, void **, size_t, const char **, size_t, _Inout_ void **)"],
  CreateSessionOptions: [10, "void *CreateSessionOptions(_Out_ void **)"],
  SetSessionGraphOptimizationLevel: [23, "void *SetSessionGraphOptimizationLevel(void *, int)"],
  SetIntraOpNumThreads: [24, "void *SetIntraOpNumThreads(void *, int)"],
  CreateTensorWithDataAsOrtValue: [
    49,
    "void *CreateTensorWithDataAsOrtValue(void *, void *, size_t, const int64_t *, size_t, int, _Out_ void **)",
  ],
  GetTensorMutableData: [51, "void *GetTensorMutableData(void *, _Out_ void **)"],
  GetTensorShapeElementCount: [64, "void *GetTensorShapeElementCount(void *, _Out_ size_t *)"],
  GetTensorTypeAndShape: [65, "void *GetTensorTypeAndShape(void *, _Out_ void **)"],
  CreateCpuMemoryInfo: [69, "void *CreateCpuMemoryInfo(int, int, _Out_ void **)"],
  ReleaseStatus: [93, "void ReleaseStatus(void *)"],
  ReleaseSession: [95, "void ReleaseSession(void *)"],
  ReleaseValue: [96, "void ReleaseValue(void *)"],
  ReleaseTensorTypeAndShapeInfo: [99, "void ReleaseTensorTypeAndShapeInfo(void *)"],
  ReleaseSessionOptions: [100, "void ReleaseSessionOptions(void *)"],
} as const;
const LENGTH = 1 + Math.max(...Object.values(FUNCTIONS).map(([place]) => place));

/** The version that the places are read by; later libraries know it too. */
const API_VERSION = 20;
const ALL_OPTIMIZATIONS = 99;
/** What goes wrong comes back as a status. */
const LOG_FATAL = 4;
const [ARENA_ALLOCATOR, DEFAULT_MEMORY] = [1, 0];
/** `ONNXTensorElementDataType`. */
const ELEMENT: Readonly<Record<string, number>> = { float32: 1, uint8: 2, int32: 6, int64: 7 };

interface Library {
  call: Readonly<Record<keyof typeof FUNCTIONS, Call>>;
  /** Calls what gives a pointer back by its last argument. @throws Error with onnxruntime's words */
  make(name: keyof typeof FUNCTIONS, ...args: unknown[]): Pointer;
  check(status: unknown): void;
  floats(at: Pointer, count: number): Float32Array;
  env: Pointer;
  memory: Pointer;
}

let library: Promise<Library | null> | undefined;

/**
 * A session on the processor, null where the library cannot be called like this (koffi is not there for the platform).
 *
 * @throws Error with onnxruntime's words for a model that it does not take
 */
export async function openNativeSession(
  model: Uint8Array,
  outputNames: readonly string[],
  threads: number | undefined,
): Promise<StepSession | null> {
  library ??= load();
  const ort = await library;
  if (!ort) return null;
  const options = ort.make("CreateSessionOptions");
  try {
    ort.check(ort.call.SetSessionGraphOptimizationLevel(options, ALL_OPTIMIZATIONS));
    if (threads !== undefined) ort.check(ort.call.SetIntraOpNumThreads(options, threads));
    const session = ort.make("CreateSessionFromArray", ort.env, model, model.byteLength, options);
    return new NativeSession(ort, session, outputNames);
  } finally {
    ort.call.ReleaseSessionOptions(options);
  }
}

class NativeSession implements StepSession {
  readonly outputNames: readonly string[];
  readonly #ort: Library;
  #session: Pointer | null;

  constructor(ort: Library, session: Pointer, outputNames: readonly string[]) {
    this.#ort = ort;
    this.#session = session;
    this.outputNames = outputNames;
  }

  async run(feeds: Readonly<Record<string, Tensor>>, into: Readonly<Record<string, Tensor | null>>) {
    const { call, check } = this.#ort;
    if (this.#session === null) throw new Error("This session was released.");
    const inputs = Object.keys(feeds);
    const outputs = Object.keys(into);
    const made: Pointer[] = [];
    const given = (tensor: Tensor) => {
      const value = this.#value(tensor);
      made.push(value);
      return value;
    };
    try {
      const fed = inputs.map((name) => given(feeds[name]!));
      const values = outputs.map((name) => (into[name] ? given(into[name]) : null));
      const isGiven = values.map((value) => value !== null);
      const args = [this.#session, null, inputs, fed, fed.length, outputs, values.length, values];
      check(call.Run(...args));
      for (const [i, value] of values.entries()) if (!isGiven[i] && value !== null) made.push(value);
      return Object.fromEntries(
        outputs.map((name, i) => [name, into[name] ?? { data: this.#copy(values[i] as Pointer) }]),
      );
    } finally {
      for (const value of made) call.ReleaseValue(value);
    }
  }

  async release(): Promise<void> {
    if (this.#session !== null) this.#ort.call.ReleaseSession(this.#session);
    this.#session = null;
  }

  /** The tensor's own memory as onnxruntime sees it. */
  #value({ data, dims, type }: Tensor): Pointer {
    const { buffer, byteOffset, byteLength } = data as Float32Array;
    const shape = BigInt64Array.from(dims, BigInt);
    const element = ELEMENT[type];
    if (element === undefined) throw new Error(`No tensors of ${type} here.`);
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    return this.#ort.make(
      ...["CreateTensorWithDataAsOrtValue" as const, this.#ort.memory, bytes, byteLength],
      ...[shape, dims.length, element],
    );
  }

  /** A float32 tensor of onnxruntime's own. */
  #copy(value: Pointer): Float32Array {
    const info = this.#ort.make("GetTensorTypeAndShape", value);
    try {
      const count = Number(this.#ort.make("GetTensorShapeElementCount", info));
      return this.#ort.floats(this.#ort.make("GetTensorMutableData", value), count);
    } finally {
      this.#ort.call.ReleaseTensorTypeAndShapeInfo(info);
    }
  }
}

async function load(): Promise<Library | null> {
  try {
    const { default: koffi } = await import("koffi");
    return bind(koffi, koffi.load(libraryPath()));
  } catch {
    return null;
  }
}

type Koffi = typeof import("koffi").default;

function bind(koffi: Koffi, lib: LibraryHandle): Library {
  const base = lib.func("void *OrtGetApiBase()")() as Pointer;
  const [getApi] = koffi.decode(base, koffi.array("void *", 1)) as [Pointer];
  const api = koffi.call(getApi, prototype(koffi, "void *GetApi(uint32_t)"), API_VERSION) as Pointer | null;
  if (!api) throw new Error("This onnxruntime has another interface.");
  const table = koffi.decode(api, koffi.array("void *", LENGTH)) as Pointer[];
  const call = Object.fromEntries(
    Object.entries(FUNCTIONS).map(([name, [place, text]]) => {
      const type = prototype(koffi, text);
      return [name, (...args: unknown[]) => koffi.call(table[place], type, ...args)];
    }),
  ) as Library["call"];
  const check = (status: unknown) => {
    if (!status) return;
    const message = String(call.GetErrorMessage(status));
    call.ReleaseStatus(status);
    throw new Error(message);
  };
  const make: Library["make"] = (name, ...args) => {
    const out: [Pointer | null] = [null];
    check(call[name](...args, out));
    return out[0] as Pointer;
  };
  const floats = (at: Pointer, count: number) =>
    count === 0 ? new Float32Array() : (koffi.decode(at, "float", count) as Float32Array);
  const env = make("CreateEnv", LOG_FATAL, "edge-t5");
  return { call, make, check, floats, env, memory: make("CreateCpuMemoryInfo", ARENA_ALLOCATOR, DEFAULT_MEMORY) };
}

const prototypes = new Map<string, TypeObject>();

/** koffi knows a prototype by its name, once. */
function prototype(koffi: Koffi, text: string): TypeObject {
  const known = prototypes.get(text) ?? koffi.proto(text);
  prototypes.set(text, known);
  return known;
}

/** The library that onnxruntime-node brings along for this platform. */
function libraryPath(): string {
  const main = createRequire(import.meta.url).resolve("onnxruntime-node");
  const folder = join(dirname(main), "..", "bin", "napi-v6", platform(), arch());
  const name = readdirSync(folder).find((each) => /^(lib)?onnxruntime\.(so|dll|.*dylib)/.test(each));
  if (!name) throw new Error(`No onnxruntime in ${folder}.`);
  return join(folder, name);
}
