import { deflateSync, strToU8 } from "fflate";
import { describe, expect, test } from "vitest";
import { DEFAULT_LIMITS, type ReadLimits } from "../../src/readers/limits.ts";
import { ZipArchive } from "../../src/readers/zip.ts";
import { crc32, joined, type RawEntry, rawZip, zipOf } from "./archives.ts";
import { expectCutsRefused, expectNoOtherErrors, expectNoOtherErrorsOfAny, refusal } from "./hostile.ts";

const open = (bytes: Uint8Array, limits: Partial<ReadLimits> = {}) =>
  new ZipArchive(bytes, { ...DEFAULT_LIMITS, ...limits });
const readAll = (bytes: Uint8Array, limits?: Partial<ReadLimits>) => {
  const zip = open(bytes, limits);
  return zip.names.map((name) => zip.read(name));
};
const entry = (more: Partial<RawEntry> = {}): RawEntry => ({ name: "a.txt", content: strToU8("some text"), ...more });
/** Text that deflate halves at best. */
const noise = (length: number, seed = 1) => {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (state * 48_271) % 2_147_483_647;
    return 33 + (state % 90);
  });
};

describe("an archive", () => {
  test("gives its entries by name, in any case of letters, folders left out", () => {
    const zip = open(zipOf({ "a.txt": "one", "folder/B.txt": noise(300_000), "folder/empty/": "" }));
    expect(zip.names).toEqual(["a.txt", "folder/B.txt"]);
    expect(zip.has("FOLDER/b.txt")).toBe(true);
    expect(new TextDecoder().decode(zip.read("A.TXT"))).toBe("one");
    expect(zip.read("folder/b.txt")).toEqual(noise(300_000));
  });

  test("may store entries, say Zip64, and write folders with backslashes", () => {
    const zip = open(
      rawZip([
        entry({ name: "stored", method: 0 }),
        entry({ name: "xl\\big", zip64: true }),
        entry({ name: "nothing", content: new Uint8Array() }),
      ]),
    );
    expect(new TextDecoder().decode(zip.read("stored"))).toBe("some text");
    expect(new TextDecoder().decode(zip.read("xl/big"))).toBe("some text");
    expect(zip.read("nothing")).toHaveLength(0);
  });

  test("may consist of stored blocks of deflate", () => {
    const content = noise(200_000);
    const data = deflateSync(content, { level: 0 });
    expect(open(rawZip([entry({ content, data })])).read("a.txt")).toEqual(content);
  });
});

describe("an archive over a limit is refused", () => {
  test("by its bytes and its number of entries, before any is looked at", () => {
    const zip = zipOf({ a: "", b: "", c: "" });
    expect(() => open(zip, { maxBytes: 100 })).toThrow(refusal("E_TOO_LARGE", /limit is 100 \(maxBytes\)/));
    expect(() => open(zip, { maxEntries: 2 })).toThrow(refusal("E_TOO_LARGE", /3 entries; the limit is 2/));
  });

  test("by a size that it declares, before anything is inflated", () => {
    const zip = open(rawZip([entry({ size: 65_000_000, data: noise(500_000) })]));
    let taken = 0;
    expect(() => zip.stream("a.txt", () => taken++)).toThrow(
      refusal("E_TOO_LARGE", /65,000,000 bytes.*maxInflatedBytes/),
    );
    expect(taken).toBe(0);
  });

  test("by what all its entries inflate to together", () => {
    const content = noise(600_000);
    const zip = zipOf({ a: content, b: content });
    expect(() => readAll(zip, { maxInflatedBytes: 1_000_000 })).toThrow(refusal("E_TOO_LARGE", /1,200,000 bytes/));
  });

  test("by its ratio", () => {
    const zip = zipOf({ bomb: new Uint8Array(20_000_000) });
    expect(() => readAll(zip)).toThrow(refusal("E_TOO_LARGE", /times its size; the limit is 200 \(maxRatio\)/));
  });

  test("unless the entry is never asked for", () => {
    const zip = open(zipOf({ bomb: new Uint8Array(20_000_000), text: "text" }));
    expect(zip.read("text")).toHaveLength(4);
  });
});

describe("an archive that lies is refused", () => {
  test("when an entry inflates to more than it declares, at the first piece that does", () => {
    const bomb = new Uint8Array(50_000_000);
    const zip = open(rawZip([entry({ content: bomb, size: 100_000, crc: 0 })]));
    let taken = 0;
    const take = (piece: Uint8Array) => {
      taken += piece.length;
    };
    expect(() => zip.stream("a.txt", take)).toThrow(refusal("E_DAMAGED", /more bytes than the archive says/));
    expect(taken).toBe(0);
  });

  test.each<[string, Partial<RawEntry>, RegExp]>([
    ["less than it declares", { size: 20 }, /not what the archive says/],
    ["something else", { crc: 1 }, /not what the archive says/],
    ["nothing", { data: strToU8("\xff\xff\xff\xff") }, /does not inflate/],
    ["a stream that ends early", { data: deflateSync(noise(5000)).slice(0, -100), size: 5000 }, /does not inflate/],
    ["two sizes, stored", { method: 0, size: 90 }, /two sizes/],
  ])("when an entry inflates to %s", (_, lie, message) => {
    expect(() => readAll(rawZip([entry(lie)]))).toThrow(refusal("E_DAMAGED", message));
  });

  test("when bytes without end follow an entry's stream, in time that does not grow with their square", () => {
    const data = joined([deflateSync(strToU8("some text")), noise(15_000_000)]);
    expect(() => readAll(rawZip([entry({ data, size: 1000 })]))).toThrow(refusal("E_DAMAGED", /does not inflate/));
  });

  test("when entries share bytes", () => {
    const content = noise(1000);
    const shared = { content, offset: 0 } as const;
    const nested = rawZip([entry({ content, name: "a" }), entry({ ...shared, name: "a" })]);
    expect(() => open(nested)).toThrow(refusal("E_DAMAGED", /shares bytes/));
    // As David Fifield's bombs: a local header inside another's data, quoted by it.
    const inner = rawZip([entry({ name: "b", content })]).subarray(0, 31 + deflateSync(content).length);
    const quoting = rawZip([
      entry({ name: "a", content: inner, data: inner, method: 0 }),
      entry({ name: "b", content, offset: 31 }),
    ]);
    expect(() => open(quoting)).toThrow(refusal("E_DAMAGED", /shares bytes/));
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["names that occur twice", rawZip([entry({ name: "a" }), entry({ name: "A" })]), /two entries of the name "A"/],
    ["a name that climbs", rawZip([entry({ name: "../../etc/passwd" })]), /leads out/],
    ["a name that climbs by backslashes", rawZip([entry({ name: "..\\x" })]), /leads out/],
    ["an absolute name", rawZip([entry({ name: "/etc/passwd" })]), /leads out/],
    ["a drive", rawZip([entry({ name: "C:\\x" })]), /leads out/],
    ["a zero byte in its name", rawZip([entry({ name: "a\0.txt" })]), /leads out/],
    ["no name", rawZip([entry({ name: "" })]), /leads out/],
    ["two names", rawZip([entry({ localName: "b.txt" })]), /another name/],
    ["fewer entries than it says", rawZip([entry()], 2), /directory is broken/],
    ["more entries than it says", rawZip([entry(), entry({ name: "b" })], 1), /directory is broken/],
    ["bytes after it", rawZip([entry()], 1, strToU8("<html>")), /cut off, or other bytes follow/],
    ["an entry outside", rawZip([entry({ compressedSize: 1_000_000 })]), /directory is broken/],
    ["an entry nowhere", rawZip([entry(), entry({ name: "b", offset: 4_000_000_000 })]), /directory is broken/],
  ])("when it has %s", (_, bytes, message) => {
    expect(() => readAll(bytes)).toThrow(refusal("E_DAMAGED", message));
  });

  test("when its sizes are of 64 bits and beyond all", () => {
    const bytes = rawZip([entry({ zip64: true, size: 0xffffffff, compressedSize: 0xffffffff })]);
    expect(() => readAll(bytes)).toThrow(refusal("E_DAMAGED", /directory is broken/));
  });
});

test("encryption, and other compressions than deflate, are named", () => {
  expect(() => readAll(rawZip([entry({ flags: 1 })]))).toThrow(refusal("E_FORMAT", /encrypted/));
  expect(() => readAll(rawZip([entry({ method: 12 })]))).toThrow(refusal("E_FORMAT", /method 12/));
  expect(() => open(strToU8("%PDF-1.7"))).toThrow(refusal("E_FORMAT", /no ZIP archive/));
});

test("cut or changed anywhere, an archive gives errors of ours only", () => {
  const zip = zipOf({ "a.txt": noise(9000), "b/c.txt": "text ".repeat(500), d: "" });
  expectCutsRefused(zip, readAll);
  expectNoOtherErrors(zip, readAll, 1000);
  expectNoOtherErrorsOfAny([0x50, 0x4b, 3, 4], readAll);
});

test("an entry of changed bytes is never given as whole", () => {
  const content = noise(4000);
  const zip = zipOf({ a: content });
  for (let at = 0; at < zip.length; at += 37) {
    const changed = Uint8Array.from(zip);
    changed[at] = changed[at]! ^ 16;
    let read: Uint8Array[] = [];
    try {
      read = readAll(changed);
    } catch {}
    for (const bytes of read) expect(crc32(bytes)).toBe(crc32(content));
  }
});
