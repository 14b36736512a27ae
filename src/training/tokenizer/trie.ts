/** Pieces by their characters, to be found along a segment: one hash table of (node, character) → node. */
import type { Pieces } from "./seed-pieces.ts";

const NONE = -1;

export class Trie {
  static readonly ROOT = 0;

  /** Of each slot: the node that it leads from, by which character, and where to. */
  readonly #from: Int32Array;
  readonly #character: Uint32Array;
  readonly #to: Int32Array;
  readonly #mask: number;
  /** The piece that ends at a node; negative: none. */
  readonly pieceAt: Int32Array;

  constructor({ characters }: Pieces) {
    const most = characters.reduce((sum, { length }) => sum + length, 1);
    const slots = 2 ** Math.ceil(Math.log2(most * 2));
    this.#mask = slots - 1;
    this.#from = new Int32Array(slots).fill(NONE);
    this.#character = new Uint32Array(slots);
    this.#to = new Int32Array(slots);
    this.pieceAt = new Int32Array(most).fill(NONE);
    let nodes = 1;
    for (const [piece, own] of characters.entries()) {
      let node = Trie.ROOT;
      for (const character of own) {
        const slot = this.#slotOf(node, character);
        if (this.#from[slot] === NONE) {
          this.#from[slot] = node;
          this.#character[slot] = character;
          this.#to[slot] = nodes++;
        }
        node = this.#to[slot] as number;
      }
      this.pieceAt[node] = piece;
    }
  }

  /** The node that a character leads to; negative: no piece goes on so. */
  next(node: number, character: number): number {
    const slot = this.#slotOf(node, character);
    return this.#from[slot] === NONE ? NONE : (this.#to[slot] as number);
  }

  /** Where the pair is, or would be put. */
  #slotOf(node: number, character: number): number {
    let slot = (Math.imul(node, 0x9e3779b1) ^ Math.imul(character, 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.#mask;
    while (this.#from[slot] !== NONE && (this.#from[slot] !== node || this.#character[slot] !== character)) {
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }
}
