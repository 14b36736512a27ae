import { describe, expect, test } from "vitest";
import { AUTO, type EdgeBounds, type PlacementRule, place } from "../../src/placement/rule.ts";
import { type Load, workerMs, workOf } from "../../src/placement/work.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { T5_SMALL } from "../bench/checkpoint.ts";

const small = parseHuggingFaceConfig(T5_SMALL);
const LIGHT: Load = { promptTokens: 100, inputs: 1, sequences: 1, newTokens: 64 };
const EDGE: EdgeBounds = {
  ...{ promptTokens: 512, newTokens: 256, maxSequences: 4, fitsModel: true },
  ...{ cpuMs: 30_000, inputs: 16, beamTokens: 1024 },
};
const own = (edge: Partial<PlacementRule["edge"]>): PlacementRule => ({ run: "auto", edge: { ...AUTO.edge, ...edge } });
const run = (run: PlacementRule["run"]): PlacementRule => ({ ...AUTO, run });

type Row = [what: string, load: Partial<Load>, rule: PlacementRule, edge: Partial<EdgeBounds>, outcome: string];

test.each<Row>([
  ["light", {}, AUTO, {}, "edge"],
  ["at every bound", { promptTokens: 512, newTokens: 256, sequences: 4, inputs: 16 }, AUTO, {}, "edge"],
  ["a long prompt", { promptTokens: 513 }, AUTO, {}, "origin: prompt_tokens 513 > 512, edge cannot"],
  ["a long answer", { newTokens: 257 }, AUTO, {}, "origin: new_tokens 257 > 256, edge cannot"],
  ["too much for a Worker", {}, AUTO, { cpuMs: 50 }, "origin: cpu_ms 95 > 50, edge cannot"],
  ["a long list", { inputs: 17 }, AUTO, {}, "origin: inputs 17 > 16, edge can"],
  ["beams × length", { sequences: 5, newTokens: 205 }, AUTO, {}, "origin: beam_tokens 1025 > 1024, edge can"],
  ["a model that does not fit", {}, AUTO, { fitsModel: false }, "origin: model, edge cannot"],
  ["limits come before wishes", { inputs: 17, newTokens: 257 }, AUTO, {}, "origin: new_tokens 257 > 256, edge cannot"],
  ["a task's shorter prompts", {}, own({ prompt_tokens: 99 }), {}, "origin: prompt_tokens 100 > 99, edge can"],
  ["a task's smaller budget", {}, own({ cpu_ms: 50 }), {}, "origin: cpu_ms 95 > 50, edge can"],
  ["a task's shorter lists", { inputs: 2 }, own({ inputs: 1 }), {}, "origin: inputs 2 > 1, edge can"],
  ["a task's longer lists", { inputs: 32 }, own({ inputs: 32 }), {}, "edge"],
  ["a task's more beams", { sequences: 8, newTokens: 256 }, own({ beam_tokens: 4096 }), {}, "edge"],
  [
    "a task's bound over the edge's",
    { promptTokens: 600 },
    own({ prompt_tokens: 900 }),
    {},
    "origin: prompt_tokens 600 > 512, edge cannot",
  ],
  ["a task for the origin", {}, run("origin"), {}, "origin: task, edge can"],
  ["a task for the edge", { inputs: 32, sequences: 8 }, run("edge"), {}, "edge"],
])("%s", (_, load, rule, edge, outcome) => {
  expect(told({ ...LIGHT, ...load }, rule, { ...EDGE, ...edge }, true)).toBe(outcome);
});

test("without an origin everything is the edge's, but what a task wants there", () => {
  const heavy = { ...LIGHT, inputs: 32, sequences: 8, newTokens: 256 };
  expect(told(heavy, AUTO, { ...EDGE, fitsModel: false, cpuMs: 1 }, false)).toBe("edge");
  expect(told(LIGHT, run("origin"), EDGE, false)).toBe("origin: task, edge can");
});

function told(load: Load, rule: PlacementRule, edge: EdgeBounds, hasOrigin: boolean): string {
  const decision = place(load, small, rule, edge, hasOrigin);
  if (decision.at === "edge") return "edge";
  const { reason, over, edgeCan } = decision;
  return `origin: ${reason}${over ? ` ${over.value} > ${over.bound}` : ""}, edge ${edgeCan ? "can" : "cannot"}`;
}

describe("work", () => {
  test("is parameters × rows: of T5-small's encoder and decoder", () => {
    // 6 layers of 4 × 512 × 512 + 2 × 512 × 2048, and attention over one token.
    const one = workOf(small, { promptTokens: 1, inputs: 1, sequences: 1, newTokens: 1 });
    expect(one.encode).toBe(6 * (4 * 512 ** 2 + 2 * 512 * 2048 + 2 * 512));
    const cross = 6 * 2 * 512 ** 2;
    const row = 6 * (6 * 512 ** 2 + 2 * 512 * 2048 + 2 * 512 * 1.5) + small.vocabSize * 512;
    expect(one.decode).toBe(cross + row);
  });

  test("grows with every length; of a list only what one Worker decodes at once counts", () => {
    const ms = (load: Partial<Load>) => workerMs(small, { ...LIGHT, ...load }, 4);
    for (const more of [{ promptTokens: 400 }, { sequences: 2 }, { newTokens: 200 }, { inputs: 4 }]) {
      expect(ms(more)).toBeGreaterThan(ms({}));
    }
    expect(ms({ inputs: 32 })).toBe(ms({ inputs: 4 }));
    expect(ms({ inputs: 4, sequences: 4 })).toBe(ms({ sequences: 4 }));
  });
});
