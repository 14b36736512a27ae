/**
 * LoRA adapters beside the weights in WASM memory, float32, never merged. They lie in memory that is grown for them, as far
 * as the limits let it; then in the arena, beside the sequences. Bounded: the one that was not used for longest makes room
 * for another, and one that an input is decoded with stays.
 */
import { EdgeT5Error } from "../../errors.ts";
import { type AdapterFiles, type LoraModule, parseAdapter } from "../../t5/adapter.ts";
import type { AdapterSet, HeldAdapter } from "../../t5/engine.ts";
import { Arena, type Block } from "../arena.ts";
import { align, megabytes } from "../cache-size.ts";
import { LEASE_MS } from "../pooled-decoder.ts";
import { WaitingLine } from "../waiting-line.ts";
import type { Machine } from "./machine.ts";
import { BLOCK_ROWS } from "./plan.ts";

const F32 = 4;

/** One layer's two matrices in memory. */
export interface PlacedModule {
  rank: number;
  in: number;
  out: number;
  /** `[rank, in]` f32. */
  a: number;
  /** `[rank, out]` f32, the scale in it. */
  b: number;
}

/** An adapter in memory. */
export interface Placed {
  id: string;
  /** By the name of the base's weight; of the layers at hand. */
  modules: ReadonlyMap<string, PlacedModule>;
  /** `[BLOCK_ROWS, largest rank]` f32: what A makes of the rows at work. */
  work: number;
  /** Null once it was given up. */
  block: Block | null;
  /** Whether the block is the arena's. */
  isInArena: boolean;
  holds: number;
  lastUsed: number;
}

/** Neighbouring rows with one adapter. */
export interface AdaptedRows {
  adapter: Placed;
  first: number;
  rows: number;
}

class Held implements HeldAdapter {
  readonly placed: Placed;
  readonly #onRelease: () => void;
  #isReleased = false;

  constructor(placed: Placed, onRelease: () => void) {
    this.placed = placed;
    this.#onRelease = onRelease;
    placed.holds++;
    placed.lastUsed = Date.now();
  }

  get id(): string {
    return this.placed.id;
  }

  get roomBytes(): number {
    return this.placed.isInArena ? (this.placed.block?.bytes ?? 0) : 0;
  }

  get isGone(): boolean {
    return this.placed.block === null;
  }

  hold(): HeldAdapter {
    return new Held(this.placed, this.#onRelease);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.placed.holds--;
    this.#onRelease();
  }
}

/**
 * Where a held adapter lies.
 *
 * @throws EdgeT5Error `E_ADAPTER` for one of another engine; `E_SEQUENCE_CLOSED` for one that was given up because nobody had
 * used it for a minute
 */
export function placedOf(adapter: HeldAdapter): Placed {
  if (!(adapter instanceof Held)) {
    throw new EdgeT5Error("E_ADAPTER", `Adapter ${adapter.id} is another engine's. Acquire it from this one.`);
  }
  const { placed } = adapter;
  if (!placed.block) {
    throw new EdgeT5Error(
      "E_SEQUENCE_CLOSED",
      `Adapter ${placed.id} was not used for a minute and made room for others. Acquire it again.`,
    );
  }
  placed.lastUsed = Date.now();
  return placed;
}

export class SimdAdapters implements AdapterSet {
  readonly #machine: Machine;
  readonly #names: ReadonlySet<string>;
  readonly #limit: number;
  /** Memory that was grown for adapters. */
  readonly #grown = new Arena(0, 0);
  /** Least recently used first. */
  readonly #placed = new Map<string, Placed>();
  readonly #line = new WaitingLine("Adapters in use leave no room for another one. Try again in a moment.");
  #bytes = 0;
  #arenaBytes = 0;

  /**
   * @param names of the linear layers at hand
   * @param limit bytes of all adapters together
   */
  constructor(machine: Machine, names: ReadonlySet<string>, limit: number) {
    this.#machine = machine;
    this.#names = names;
    this.#limit = limit;
  }

  get size(): number {
    return this.#placed.size;
  }

  async acquire(id: string, load: () => Promise<AdapterFiles>, signal?: AbortSignal): Promise<HeldAdapter> {
    const known = this.#use(id);
    if (known) return known;
    // Each of several first requests loads for itself: in workerd, what another one awaits may end with it.
    const { modules } = parseAdapter(await load(), this.#machine.config, `Adapter ${id}`);
    const wanted = [...modules.values()].filter(({ name }) => this.#names.has(name));
    const bytes = bytesOf(wanted);
    const most = Math.min(this.#limit, Math.max(this.#machine.growableBytes, this.#arenaShare));
    if (bytes > most) {
      throw new EdgeT5Error(
        "E_ADAPTER",
        `Adapter ${id} takes ${megabytes(bytes)} here; this placement keeps adapters of up to ${megabytes(most)}. ` +
          "Lower its rank, adapt fewer modules, or raise the memory limit.",
      );
    }
    return this.#line.take(() => this.#use(id) ?? this.#place(id, wanted, bytes), { signal });
  }

  /** Gives up an adapter of the arena that is not in use. @returns whether there was one */
  letGoOfArena(): boolean {
    return this.#evict(({ isInArena }) => isInArena);
  }

  /** Lets those who wait look for room again. */
  retry(): void {
    this.#line.retry();
  }

  /** The arena is the sequences' first. */
  get #arenaShare(): number {
    return Math.floor(this.#machine.arena.bytes / 2);
  }

  #use(id: string): Held | null {
    const placed = this.#placed.get(id);
    if (!placed) return null;
    this.#placed.delete(id);
    this.#placed.set(id, placed);
    return this.#hold(placed);
  }

  #hold(placed: Placed): Held {
    return new Held(placed, () => this.#line.retry());
  }

  /** Null while what is in use leaves no room. */
  #place(id: string, modules: readonly LoraModule[], bytes: number): Held | null {
    for (;;) {
      const found = this.#bytes + bytes <= this.#limit ? this.#take(bytes) : null;
      if (found) {
        const placed: Placed = { id, ...this.#write(modules, found.block.at), ...found, holds: 0, lastUsed: 0 };
        this.#placed.set(id, placed);
        return this.#hold(placed);
      }
      if (!this.#evict(() => true)) return null;
    }
  }

  #take(bytes: number): (Pick<Placed, "isInArena"> & { block: Block }) | null {
    let block = this.#grown.take(bytes);
    const more = block ? null : this.#machine.grow(bytes - this.#grown.freeBefore(this.#machine.end));
    if (more) {
      this.#grown.give(more);
      block = this.#grown.take(bytes);
    }
    const isInArena = !block;
    if (!block && this.#arenaBytes + bytes <= this.#arenaShare) {
      block = this.#machine.arena.takeLast(bytes);
      if (block) this.#arenaBytes += bytes;
    }
    if (!block) return null;
    this.#bytes += bytes;
    return { block, isInArena };
  }

  /** Gives up the one of those that was not used for longest. A hold whose request is gone counts for a minute. */
  #evict(isOne: (placed: Placed) => boolean): boolean {
    const limit = Date.now() - LEASE_MS;
    for (const placed of this.#placed.values()) {
      const { id, block, holds, lastUsed, isInArena } = placed;
      if (!block || !isOne(placed) || (holds > 0 && lastUsed >= limit)) continue;
      this.#placed.delete(id);
      placed.block = null;
      this.#bytes -= block.bytes;
      if (isInArena) this.#arenaBytes -= block.bytes;
      (isInArena ? this.#machine.arena : this.#grown).give(block);
      return true;
    }
    return false;
  }

  #write(modules: readonly LoraModule[], at: number): Pick<Placed, "modules" | "work"> {
    const { floats } = this.#machine;
    const placed = new Map<string, PlacedModule>();
    let next = at;
    for (const { name, rank, in: inputs, out, a, b, scale } of modules) {
      const module = { rank, in: inputs, out, a: next, b: next + align(a.length * F32) };
      next = module.b + align(b.length * F32);
      floats.set(a, module.a / F32);
      for (let j = 0; j < rank; j++) {
        const row = module.b / F32 + j * out;
        for (let i = 0; i < out; i++) floats[row + i] = scale * (b[i * rank + j] as number);
      }
      placed.set(name, module);
    }
    return { modules: placed, work: next };
  }
}

/** Of the modules' matrices and of what is worked in. */
function bytesOf(modules: readonly LoraModule[]): number {
  const matrices = modules.reduce((sum, { a, b }) => sum + align(a.length * F32) + align(b.length * F32), 0);
  return matrices + align(BLOCK_ROWS * Math.max(1, ...modules.map(({ rank }) => rank)) * F32);
}
