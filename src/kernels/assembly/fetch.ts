// Fetching ahead. WASM has no instruction for it, but a load that nothing waits for does the same: as many of them are under way
// at once as the processor can have, where dots between them would let memory wait.

/** Bytes of a cache line. */
export const LINE: usize = 64;

/**
 * Where {@link keep} puts what was read. A store to memory is never left out; of a variable that nobody reads it is, and then, where
 * loads are checked against the memory's end (workerd), V8 leaves out the loads too and keeps the checks.
 */
const KEPT = memory.data<i32>([0]);

/** Has loads take place whose numbers nobody needs. */
@inline
export function keep(read: i32): void {
  store<i32>(KEPT, read);
}

/** Reads a number of each cache line. */
export function fetch(from: usize, end: usize): void {
  let read = 0;
  for (; from < end; from += LINE) read ^= load<i32>(from);
  keep(read);
}

/**
 * As {@link fetch}, of `count` pieces `apart` bytes from each other, by turns: where pieces are too short for prefetchers, and each
 * has a page of its own to find, all wait together.
 */
export function fetchPieces(at: usize, count: i32, apart: usize, bytes: usize): void {
  let read = 0;
  const all = <usize>count * apart;
  for (const end = at + bytes; at < end; at += LINE) {
    for (let piece = at; piece < at + all; piece += apart) read ^= load<i32>(piece);
  }
  keep(read);
}
