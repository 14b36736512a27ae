/** Who answers for a blob's bytes: the storage that holds them to their hash, or else the one who loads them. */
import { expect, test } from "vitest";
import { loadBlobs } from "../../src/engines/load.ts";
import { sha256Of } from "../../src/store/sha256.ts";
import type { Store } from "../../src/store/store.ts";

const BYTES = new Uint8Array(1000).fill(7);
const OTHERS = new Uint8Array(1000).fill(8);

/** A storage that has `OTHERS` under every name, and says of them what it is told to. */
const store = (sha256?: string): Store => ({
  description: "a storage",
  get: async () => null,
  async fill(_, target) {
    async function* arrivals() {
      target.set(OTHERS);
      yield OTHERS.length;
    }
    return { arrivals: arrivals(), sha256 };
  },
});

test("bytes under the storage's own hash are not hashed a second time, all others are", async () => {
  const hash = await sha256Of(BYTES);
  const load = async (from: Store) => {
    const memory = new Uint8Array(BYTES.length);
    await loadBlobs(from, [{ hash, bytes: BYTES.length, memory, at: 0 }]);
    return memory;
  };
  // Only who does not look takes them.
  expect(await load(store(hash))).toEqual(OTHERS);
  for (const from of [store(), store(await sha256Of(OTHERS))]) {
    await expect(load(from)).rejects.toMatchObject({ code: "E_BLOB_CORRUPT" });
  }
});
