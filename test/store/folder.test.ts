import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { FolderStore } from "../../src/store/folder.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { createSha256, sha256Of } from "../../src/store/sha256.ts";
import { fill, readText, type WritableStore } from "../../src/store/store.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";

const stores: [string, () => Promise<WritableStore>][] = [
  ["FolderStore", async () => new FolderStore(await temporaryFolder())],
  ["MemoryStore", async () => new MemoryStore()],
];

async function readAll(store: WritableStore, key: string): Promise<Uint8Array> {
  return new Uint8Array(
    await new Response((await store.get(key)) as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer(),
  );
}

function failingStream(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start: (controller) => controller.enqueue(new Uint8Array(10)),
    pull: (controller) => controller.error(new Error("the network went away")),
  });
}

describe.each(stores)("%s", (_, create) => {
  it("gives back what was put, from bytes and from a stream", async () => {
    const store = await create();
    const bytes = Uint8Array.from({ length: 3_000_001 }, (_, i) => (i * 31) >> 3);
    await store.put("blobs/bytes", bytes);
    await store.put("blobs/stream", new Blob([bytes]).stream());
    expect(Buffer.compare(await readAll(store, "blobs/bytes"), bytes)).toBe(0);
    expect(Buffer.compare(await readAll(store, "blobs/stream"), bytes)).toBe(0);
  });

  it("has null for what is not there", async () => {
    const store = await create();
    expect(await store.get("manifest.json")).toBeNull();
    expect(await store.get("blobs/none")).toBeNull();
    expect(await readText(store, "manifest.json")).toBeNull();
  });

  it.each([0, 1, 1 << 20, 3_000_001])(
    "fills memory with an object of %i bytes, up to the memory's end",
    async (length) => {
      const store = await create();
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 31) >> 3);
      await store.put("object", bytes);
      for (const room of [length, length + 5, Math.max(0, length - 1)]) {
        const memory = new Uint8Array(new WebAssembly.Memory({ initial: 50 }).buffer);
        const target = memory.subarray(64, 64 + room);
        let arrived = 0;
        for await (const some of (await fill(store, "object", target))!.arrivals) {
          arrived += some;
          const there = Math.min(arrived, room);
          expect(Buffer.compare(target.subarray(0, there), bytes.subarray(0, there))).toBe(0);
          if (arrived > room) break;
        }
        expect(Math.min(arrived, room + 1)).toBe(Math.min(length, room + 1));
        expect(memory.subarray(64 + room).every((byte) => byte === 0)).toBe(true);
      }
      expect(await fill(store, "none", new Uint8Array(1))).toBeNull();
    },
  );

  it("writes nothing more into memory once who fills it has left", async () => {
    const store = await create();
    await store.put("object", new Uint8Array(3_000_001).fill(7));
    const target = new Uint8Array(3_000_001);
    for await (const _ of (await fill(store, "object", target))!.arrivals) break;
    target.fill(0);
    await delay(50);
    expect(target.includes(7)).toBe(false);
  });

  it("replaces an object, and keeps empty ones", async () => {
    const store = await create();
    await store.put("manifest.json", new TextEncoder().encode("old"));
    await store.put("manifest.json", new TextEncoder().encode("new"));
    await store.put("empty", new Uint8Array());
    expect(await readText(store, "manifest.json")).toBe("new");
    expect(await readText(store, "empty")).toBe("");
  });

  it("keeps the old object when the new one's stream fails", async () => {
    const store = await create();
    await store.put("manifest.json", new TextEncoder().encode("old"));
    await expect(store.put("manifest.json", failingStream())).rejects.toThrow("the network went away");
    expect(await readText(store, "manifest.json")).toBe("old");
  });
});

describe("FolderStore", () => {
  it.each(["../secret", "blobs/../../secret", "/etc/passwd", "", "a//b", ".", "a/.", "..\\secret", "c:x", "a\0b"])(
    "refuses the key %j, to read and to write",
    async (key) => {
      const outer = await temporaryFolder();
      await writeFile(join(outer, "secret"), "x");
      await mkdir(join(outer, "store"));
      const store = new FolderStore(join(outer, "store"));
      await expect(store.get(key)).rejects.toMatchObject({ code: "E_INPUT" });
      await expect(store.fill(key, new Uint8Array(1))).rejects.toMatchObject({ code: "E_INPUT" });
      await expect(store.put(key, new Uint8Array(1))).rejects.toMatchObject({ code: "E_INPUT" });
      expect(await readFile(join(outer, "secret"), "utf8")).toBe("x");
    },
  );

  it("leaves no temporary file behind, whether a put succeeds or fails", async () => {
    const dir = await temporaryFolder();
    const store = new FolderStore(dir);
    await store.put("a", new Uint8Array(5));
    await expect(store.put("b", failingStream())).rejects.toThrow();
    expect(await readdir(dir)).toEqual(["a"]);
  });

  it("streams a large object in chunks of at most 256 KiB, and stops when its reader does", async () => {
    const store = new FolderStore(await temporaryFolder());
    await store.put("large", new Uint8Array(2_500_000));
    const sizes: number[] = [];
    for await (const chunk of (await store.get("large"))!) sizes.push(chunk.length);
    expect(sizes).toEqual([...Array(9).fill(1 << 18), 2_500_000 - 9 * (1 << 18)]);
    const reader = (await store.get("large"))!.getReader();
    await reader.read();
    await reader.cancel();
    await expect(reader.closed).resolves.toBeUndefined();
  });

  it("takes a folder for no object", async () => {
    const store = new FolderStore(await temporaryFolder());
    await store.put("blobs/a", new Uint8Array(1));
    expect(await store.get("blobs")).toBeNull();
    expect(await store.fill("blobs", new Uint8Array(1))).toBeNull();
  });

  it("removes temporary files of processes that are gone, and only those", async () => {
    const dir = await temporaryFolder();
    const store = new FolderStore(dir);
    const id = "00000000-0000-0000-0000-000000000000";
    // No process has a number beyond the largest that Linux gives.
    const gone = `.edge-t5-${2 ** 22 + 1}-${id}.tmp`;
    const running = `.edge-t5-${process.ppid}-${id}.tmp`;
    const previousOfOurNumber = `.edge-t5-${process.pid}-${id}.tmp`;
    for (const name of [gone, running, previousOfOurNumber, "someone-elses.tmp"]) await writeFile(join(dir, name), "");
    const ours = await store.stage("blobs");
    await store.removeStale(["blobs"]);
    expect((await readdir(dir)).sort()).toEqual([running, "blobs", "someone-elses.tmp"].sort());
    await ours.finish();
    await store.commit(ours, "blobs/ours");
    expect(await store.list("blobs")).toEqual([{ key: "blobs/ours", bytes: 0 }]);
  });

  it("reads through a link that the folder's owner made", async () => {
    const dir = await temporaryFolder();
    await writeFile(join(dir, "target"), "linked");
    await symlink("target", join(dir, "link"));
    expect(await readText(new FolderStore(dir), "link")).toBe("linked");
  });
});

describe("createSha256", () => {
  it("hashes piece by piece as FIPS 180-4's examples say", () => {
    const hash = createSha256();
    hash.update(new TextEncoder().encode("a"));
    hash.update(new TextEncoder().encode("bc"));
    expect(hash.digest()).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(createSha256().digest()).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  });

  it("is what all bytes at once hash to, in a part of WASM memory too", async () => {
    const bytes = new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer, 100, 3);
    bytes.set(new TextEncoder().encode("abc"));
    expect(await sha256Of(bytes)).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  });
});
