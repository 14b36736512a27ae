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
