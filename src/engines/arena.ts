/** Room for sequences: blocks of one region of WASM memory, first fit, neighbours joined when given back. */

export interface Block {
  at: number;
  bytes: number;
}

export class Arena {
  readonly bytes: number;
  /** Free blocks by address. */
  readonly #free: Block[];

  constructor(at: number, bytes: number) {
    this.bytes = bytes;
    this.#free = bytes > 0 ? [{ at, bytes }] : [];
  }

  get freeBytes(): number {
    return this.#free.reduce((sum, block) => sum + block.bytes, 0);
  }

  /** A block, or null when none is large enough. */
  take(bytes: number): Block | null {
    const index = this.#free.findIndex((block) => block.bytes >= bytes);
    const block = this.#free[index];
    if (!block) return null;
    const taken = { at: block.at, bytes };
    if (block.bytes === bytes) {
      this.#free.splice(index, 1);
    } else {
      block.at += bytes;
      block.bytes -= bytes;
    }
    return taken;
  }

  /** As {@link take}, from the end: what stays long leaves the rest in one piece. */
  takeLast(bytes: number): Block | null {
    const index = this.#free.findLastIndex((block) => block.bytes >= bytes);
    const block = this.#free[index];
    if (!block) return null;
    block.bytes -= bytes;
    if (block.bytes === 0) this.#free.splice(index, 1);
    return { at: block.at + block.bytes, bytes };
  }

  /** Bytes free right before an address. */
  freeBefore(end: number): number {
    return this.#free.find(({ at, bytes }) => at + bytes === end)?.bytes ?? 0;
  }

  give(block: Block): void {
    let index = this.#free.findIndex((free) => free.at > block.at);
    if (index < 0) index = this.#free.length;
    this.#free.splice(index, 0, { ...block });
    // Joining from right to left keeps the indexes valid.
    for (const i of [index, index - 1]) {
      const left = this.#free[i];
      const right = this.#free[i + 1];
      if (left && right && left.at + left.bytes === right.at) {
        left.bytes += right.bytes;
        this.#free.splice(i + 1, 1);
      }
    }
  }
}
