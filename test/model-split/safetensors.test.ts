import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SafetensorsFile } from "../../model-split/safetensors.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { float32, type Header, headerOf, type RawTensors, safetensors, temporaryFolder } from "./checkpoints.ts";

const TWO: RawTensors = new Map([
  ["a.weight", float32([2, 3], Float32Array.of(1, 2, 3, 4, 5, 6))],
  ["b.weight", float32([2], Float32Array.of(7, 8))],
]);

async function open(bytes: Uint8Array): Promise<SafetensorsFile> {
  const path = join(await temporaryFolder(), "model.safetensors");
  await writeFile(path, bytes);
  return SafetensorsFile.open(path);
}

/** A file of {@link TWO}'s bytes with another header. */
function withHeader(change: (header: Header) => object): Uint8Array {
  return safetensors(TWO, change(headerOf(TWO)));
}

describe("a whole file", () => {
  it("lists its tensors and reads them back", async () => {
    const file = await open(withHeader((header) => ({ __metadata__: { format: "pt" }, ...header })));
    expect([...file.tensors.keys()]).toEqual(["a.weight", "b.weight"]);
    for (const [name, values] of [
      ["a.weight", [1, 2, 3, 4, 5, 6]],
      ["b.weight", [7, 8]],
    ] as const) {
      const read: number[] = [];
      for await (const chunk of file.rows(name)) read.push(...chunk);
      expect(read).toEqual(values);
    }
    await file.close();
  });

  it("hands a large tensor out in chunks of whole rows, in order", async () => {
    const columns = 700;
    const values = Float32Array.from({ length: 4000 * columns }, (_, i) => i);
    const file = await open(safetensors(new Map([["big", float32([4000, columns], values)]])));
    let next = 0;
    let chunks = 0;
    for await (const chunk of file.rows("big")) {
      chunks++;
      expect(chunk.length % columns).toBe(0);
      expect(chunk.byteLength).toBeLessThanOrEqual(4 << 20);
      for (const value of chunk) if (value !== next++) expect(value).toBe(next - 1);
    }
    expect(next).toBe(values.length);
    expect(chunks).toBe(3);
    await file.close();
  });
});

/** {@link TWO} with one tensor's entry changed. */
function withEntry(name: string, change: Partial<Header[string]>): Uint8Array {
  return withHeader((header) => ({ ...header, [name]: { ...header[name]!, ...change } }));
}

const whole = safetensors(TWO);
const malformed: [string, Uint8Array, RegExp][] = [
  ["empty", new Uint8Array(), /too few for a header/],
  ["header length over the limit", new Uint8Array(16).fill(255), /over the format's limit/],
  ["header longer than the file", whole.subarray(0, 20), /but the file ends after 20/],
  ["header that is not JSON", Uint8Array.from(whole).fill(0x7b, 8, 20), /not JSON/],
  ["header that is an array", withHeader(() => []), /not a JSON object/],
  ["truncated data", whole.subarray(0, -1), /tensor b\.weight ends at byte/],
  ["bytes after the last tensor", Buffer.concat([whole, Buffer.of(0)]), /1 bytes after the last/],
  ["overlap", withEntry("b.weight", { data_offsets: [16, 24] }), /b\.weight overlaps tensor a\.weight/],
  ["gap", withEntry("b.weight", { data_offsets: [28, 36] }), /before tensor b\.weight belong/],
  ["reversed offsets", withEntry("a.weight", { data_offsets: [24, 0] }), /tensor a\.weight has offsets/],
  ["negative offset", withEntry("a.weight", { data_offsets: [-24, 0] }), /tensor a\.weight: data_offsets/],
  ["shape larger than the bytes", withEntry("a.weight", { shape: [2, 4] }), /F32 \[2, 4\] takes 32/],
  [
    "entry without offsets",
    withHeader((h) => ({ ...h, "b.weight": { dtype: "F32", shape: [2] } })),
    /tensor b\.weight: /,
  ],
  ["unknown dtype", withEntry("b.weight", { dtype: "F31" }), /b\.weight has the unknown dtype "F31"/],
];

describe("a malformed file is refused with its path, the tensor and the reason", () => {
  it.each(malformed)("%s", async (_, bytes, reason) => {
    const error: unknown = await open(bytes).catch((e) => e);
    expect(error).toBeInstanceOf(EdgeT5Error);
    expect(error).toMatchObject({ code: "E_SAFETENSORS", message: expect.stringMatching(reason) });
    expect((error as Error).message).toContain("model.safetensors");
  });

  it("at whatever byte it was cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: whole.length - 1 }), async (length) => {
        await expect(open(whole.subarray(0, length))).rejects.toMatchObject({ code: "E_SAFETENSORS" });
      }),
      { numRuns: 60 },
    );
  });

  it("whatever byte of the header was flipped: refused, or still a header that fits the file", async () => {
    const headerEnd = whole.length - 32;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: headerEnd - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (at, flip) => {
          const bytes = Uint8Array.from(whole);
          bytes[at]! ^= flip;
          const file = await open(bytes).catch((error: EdgeT5Error) => error);
          if (file instanceof SafetensorsFile) {
            const total = [...file.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
            await file.close();
            expect(total).toBe(32);
          } else {
            expect(file).toMatchObject({ code: "E_SAFETENSORS" });
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
