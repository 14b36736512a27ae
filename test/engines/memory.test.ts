/** What `inspect --memory` computes from a manifest, held to what an engine really allocates and has room for. */
import { describe, expect, test } from "vitest";
import { reportMemory, type Streams } from "../../src/engines/memory.ts";
import { loadSimdEngine } from "../../src/engines/simd/index.ts";
import { planMemory } from "../../src/engines/simd/plan.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import type { DecoderInput, EngineLimits, Role } from "../../src/t5/engine.ts";
import { type Manifest, partOf } from "../../src/t5/manifest.ts";
import { LIMITS, TINY, tinyPackage } from "./tiny.ts";

const BOTH: readonly Role[] = ["encoder", "decoder"];
const GATED = { ...TINY, feed_forward_proj: "gated-gelu" };

async function load(manifest: Manifest, store: Awaited<ReturnType<typeof tinyPackage>>["store"], limits: EngineLimits) {
  return loadSimdEngine({ manifest, store, kernels: await loadKernels(), roles: BOTH, limits });
}

function sum(uses: readonly { bytes: number }[]): number {
  return uses.reduce((total, { bytes }) => total + bytes, 0);
}

describe("the memory report", () => {
  test.each([
    ["int8, both halves", 8, TINY, BOTH],
    ["int8, the encoder", 8, TINY, ["encoder"]],
    ["int8, the decoder", 8, TINY, ["decoder"]],
    ["int4, a gated feed-forward", 4, GATED, BOTH],
    ["float32", 32, TINY, BOTH],
  ] as const)("is what is allocated: %s", async (_, bits, config, roles) => {
    const { manifest, store } = await tinyPackage(bits, config);
    const streams: Streams = { count: 2, promptTokens: 9, newTokens: 5 };
    const report = reportMemory("simd", manifest, roles, LIMITS, streams);
    const { memory } = await loadSimdEngine({ manifest, store, kernels: await loadKernels(), roles, limits: LIMITS });
    expect(report.bytes).toBe(memory.buffer.byteLength);
    expect(sum(report.uses)).toBe(report.bytes);
    expect(report.uses.every(({ bytes }) => bytes >= 0)).toBe(true);
    const { regions, pages } = planMemory(manifest, roles, LIMITS);
    let end = 0;
    for (const { at, bytes } of regions) {
      expect(at).toBe(end);
      end += bytes;
    }
    expect(Math.ceil(end / 65536)).toBe(pages);
  });

  test.each([
    ["the longest", LIMITS, 40, 12],
    ["short ones", LIMITS, 7, 3],
    ["of odd lengths, in memory that cuts the room", { ...LIMITS, maxSequences: 500, memoryBytes: 3e6 }, 33, 11],
    ["with keys and values in float32", { ...LIMITS, cacheBits: 32 as const }, 21, 12],
  ])("says how many streams fit, and not one more does: %s", async (_, limits, promptTokens, newTokens) => {
    const { manifest, store } = await tinyPackage(8);
    const { encoder, decoder, memory } = await load(manifest, store, limits);
    const { fit, bytes } = reportMemory("simd", manifest, BOTH, limits, { count: 1, promptTokens, newTokens });
    expect(bytes).toBe(memory.buffer.byteLength);
    const hidden = await encoder.encode(Array.from({ length: promptTokens }, (_, i) => 2 + i));
    const input = { hidden, maxNewTokens: newTokens };
    expect(fit).toBeGreaterThanOrEqual(3);
    for (let i = 0; i < (fit ?? 0); i++) await decoder.openAll([input]);
    expect(decoder.openSequences).toBe(fit);
    const leaving = new AbortController();
    const oneMore = decoder.openAll([input], leaving.signal);
    leaving.abort(new Error("there is no room"));
    await expect(oneMore).rejects.toThrow("there is no room");
    expect(decoder.fits(Array<DecoderInput>(fit ?? 0).fill(input))).toBe(true);
    expect(decoder.fits(Array<DecoderInput>((fit ?? 0) + 1).fill(input))).toBe(false);
  });

  test("of a part of a stack holds its layers' caches, and logits only where the stack ends", async () => {
    const { manifest } = await tinyPackage(8, TINY, 36_000);
    const parts = manifest.shards.filter(({ role }) => role === "decoder").length;
    expect(parts).toBeGreaterThan(1);
    const streams: Streams = { count: 3, promptTokens: 16, newTokens: 12 };
    const reports = Array.from({ length: parts }, (_, i) =>
      reportMemory("simd", partOf(manifest, "decoder", i, i + 1), ["decoder"], LIMITS, streams),
    );
    const whole = reportMemory("simd", manifest, ["decoder"], LIMITS, streams);
    const bytesOf = ({ uses }: typeof whole, use: string) => uses.find((each) => each.use === use)?.bytes ?? 0;
    const logits = reports.map((report) => bytesOf(report, "logits"));
    expect(logits).toEqual([...Array(parts - 1).fill(0), bytesOf(whole, "logits")]);
    const caches = sum(reports.map((report) => ({ bytes: bytesOf(report, "ownCaches") })));
    // Each part ends at a multiple of 64 bytes.
    expect(caches - bytesOf(whole, "ownCaches")).toBeLessThan(3 * 64 * parts);
  });

  test("of the onnx engine is an estimate: weights, the runtime, float32 caches", async () => {
    const { manifest } = await tinyPackage(8);
    const limits = { ...LIMITS, memoryBytes: 94e6 };
    const report = reportMemory("onnx", manifest, BOTH, limits, { count: 2, promptTokens: 40, newTokens: 12 });
    expect(report.fit).toBe(limits.maxSequences);
    expect(sum(report.uses)).toBe(report.bytes);
    expect(report.uses.map(({ use }) => use)).toContain("runtime");
  });
});

test("a step's rows are not the sequences that have room: many short ones step together where a few long ones fit", async () => {
  const { manifest } = await tinyPackage(8);
  const rows = (limits: Partial<EngineLimits>) => planMemory(manifest, BOTH, { ...LIMITS, ...limits }).decoder.rows;
  expect(rows({ maxSequences: 1 })).toBe(64);
  const large = { ...manifest, model: { ...manifest.model, vocabSize: 32_128 } };
  expect(planMemory(large, BOTH, LIMITS).decoder.rows).toBe(16);
  const huge = { ...manifest, model: { ...manifest.model, vocabSize: 250_112 } };
  expect(planMemory(huge, BOTH, LIMITS).decoder.rows).toBe(4);
});
