/** What every reader owes to hostile files: an error of ours, whatever is cut off or changed. */
import fc from "fast-check";
import { expect } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";

/** The file cut at every kilobyte (and near its ends): an error of ours each time. */
export function expectCutsRefused(bytes: Uint8Array, read: (bytes: Uint8Array) => unknown): void {
  const cuts = new Set([0, 1, 3, 4, 30, bytes.length - 1, bytes.length - 22]);
  for (let cut = 1024; cut < bytes.length; cut += 1024) cuts.add(cut);
  for (const cut of cuts) {
    expect(() => read(bytes.subarray(0, cut)), `cut at ${cut}`).toThrow(EdgeT5Error);
  }
}

/** A few bytes changed anywhere: it is read, or refused with an error of ours. */
export function expectNoOtherErrors(bytes: Uint8Array, read: (bytes: Uint8Array) => unknown, runs = 300): void {
  const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
      const changed = Uint8Array.from(bytes);
      for (const [at, byte] of changes) changed[at] = byte;
      onlyOurs(() => read(changed));
    }),
    { numRuns: runs },
  );
}

/** Any bytes at all, behind a beginning that fits. */
export function expectNoOtherErrorsOfAny(start: readonly number[], read: (bytes: Uint8Array) => unknown): void {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (any) => {
      onlyOurs(() => read(Uint8Array.from([...start, ...any])));
    }),
  );
}

function onlyOurs(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof EdgeT5Error)) throw error;
  }
}

export function refusal(code: string, message: RegExp) {
  return expect.objectContaining({ code, message: expect.stringMatching(message) });
}
