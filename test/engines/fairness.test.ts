/** Owners that have far more in work than another: that one goes first, and they keep a share. */
import { beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { BatchingDecoder } from "../../src/engines/batching-decoder.ts";
import { FairEncoder } from "../../src/engines/fair-encoder.ts";
import { Owners } from "../../src/engines/owners.ts";
import { CROWD_TURNS } from "../../src/engines/pace.ts";
import { PROMPT_ROWS } from "../../src/engines/simd/plan.ts";
import type { Encoder, Engine, Sequence } from "../../src/t5/engine.ts";
import { changed, roomsOf, someIds, tinyEngine } from "./tiny.ts";
import { settled, Turns } from "./turns.ts";

const TOKENS = 12;
/** More than three times the quiet one's. */
const CROWD = 6;

let engine: Engine;
let hidden: Float32Array;
beforeAll(async () => {
  engine = await tinyEngine(8, { maxSequences: 2 * CROWD, maxInputTokens: PROMPT_ROWS + 8 });
  hidden = await engine.encoder.encode(someIds(9, 1));
});

function useFakeDate(): void {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
}

describe("a crowd", () => {
  const ownersWith = (loud: number, quiet: number) => {
    const owners = new Owners();
    owners.begin("loud", loud);
    owners.begin("quiet", quiet);
    return owners;
  };

  test("is who has more than three times as much in work as another", () => {
    expect(ownersWith(4, 1).isCrowd("loud")).toBe(true);
    expect(ownersWith(3, 1).isCrowd("loud")).toBe(false);
    expect(ownersWith(6, 2).isCrowd("loud")).toBe(false);
    expect(ownersWith(4, 1).isCrowd("quiet")).toBe(false);
    const owners = new Owners();
    owners.begin("loud", 40);
    expect(owners.isCrowd("loud")).toBe(false);
  });

  test("is one until the other has not been back for a while, or its own work is done", () => {
    useFakeDate();
    const owners = new Owners();
    const endLoud = owners.begin("loud", 6);
    owners.begin("quiet")();
    vi.advanceTimersByTime(1_000);
    expect(owners.isCrowd("loud")).toBe(true);
    vi.advanceTimersByTime(2_000);
    expect(owners.isCrowd("loud")).toBe(false);
    owners.see("quiet");
    expect(owners.isCrowd("loud")).toBe(true);
    endLoud();
    expect(owners.isCrowd("loud")).toBe(false);
  });

  test("is not who left sequences behind, once their room was reclaimed", async () => {
    useFakeDate();
    const { encoder, decoder: own } = await tinyEngine(8, { maxSequences: CROWD });
    const full = { hidden: await encoder.encode(someIds(40, 1)), maxNewTokens: TOKENS };
    const owners = new Owners();
    const decoder = new BatchingDecoder(own, undefined, owners);
    await decoder.openAll(Array(CROWD).fill({ ...full, owner: "loud" }));
    vi.advanceTimersByTime(61_000);
    owners.see("quiet");
    expect(owners.isCrowd("loud")).toBe(true);
    await decoder.openAll([{ ...full, owner: "quiet" }]);
    expect(owners.isCrowd("loud")).toBe(false);
  });

  test("has a quarter of what is done", () => {
    const owners = ownersWith(6, 1);
    const served = { loud: 0, quiet: 0 };
    for (let slice = 0; slice < 100; slice++) {
      const next = owners.servedTo("loud") < owners.servedTo("quiet") ? "loud" : "quiet";
      owners.serve(next, 1e6);
      served[next]++;
    }
    expect(served.loud).toBeGreaterThanOrEqual(24);
    expect(served.loud).toBeLessThanOrEqual(26);
  });
});

describe("encodes", () => {
  let turns: Turns;
  let encoder: FairEncoder;
  /** Owners whose blocks were computed, in order. */
  let blocks: string[];
  beforeEach(() => {
    turns = new Turns();
    blocks = [];
    // Each block of the small model counts as 100 million multiply-adds.
    const own: Encoder = {
      config: engine.encoder.config,
      isFirst: true,
      maxInputTokens: engine.encoder.maxInputTokens,
      encode: (ids, before, adapter, control) =>
        engine.encoder.encode(ids, before, adapter, {
          pause: () => {
            blocks.push(String(ids[0]));
            return control?.pause?.(100e6) ?? null;
          },
        }),
    };
    encoder = new FairEncoder(own, new Owners(), turns.take);
  });
  /** The first id tells whose it is. */
  const begin = (owner: "loud" | "quiet", signal?: AbortSignal) => {
    const ids = [owner === "loud" ? 2 : 3, ...someIds(PROMPT_ROWS + 7, 1)];
    const state = { outcome: "none" };
    encoder.encode(ids, undefined, undefined, { owner, signal }).then(
      () => {
        state.outcome = "encoded";
      },
      (error: Error) => {
        state.outcome = error.message;
      },
    );
    return state;
  };
  const finish = async () => {
    while (turns.count > 0) await turns.fireAll();
  };

  test("of a crowd give way for several turns, and to a quiet one that comes at once", async () => {
    const crowd = Array.from({ length: CROWD }, () => begin("loud"));
    // Alone, it goes on for long.
    await settled();
    const quiet = begin("quiet");
    await settled();
    while (quiet.outcome === "none") await turns.fireAll();
    const before = blocks.lastIndexOf("3");
    expect(new Set(blocks.slice(blocks.indexOf("3"), before + 1))).toEqual(new Set(["3"]));
    const after = blocks.length;
    for (let turn = 1; turn < CROWD_TURNS; turn++) await turns.fireAll();
    expect(blocks.length - after).toBeLessThanOrEqual(1);
    await finish();
    expect(crowd.map(({ outcome }) => outcome)).toEqual(Array(CROWD).fill("encoded"));
  });

  test("of a crowd go on beside one that always has another", async () => {
    const crowd = Array.from({ length: CROWD }, () => begin("loud"));
    const encoded = () => crowd.filter(({ outcome }) => outcome === "encoded").length;
    // As long as enough of them are left.
    for (let requests = 0; encoded() < 2 && requests < 100; requests++) {
      const quiet = begin("quiet");
      await settled();
      while (quiet.outcome === "none") await turns.fireAll();
    }
    expect(encoded()).toBe(2);
    const loud = blocks.filter((owner) => owner === "2").length;
    expect(blocks.length - loud).toBeGreaterThan(2 * loud);
    await finish();
  });

  test("end where their client leaves, at work or in line", async () => {
    const leaving = new AbortController();
    begin("quiet");
    await settled();
    const [atWork, inLine] = [begin("loud", leaving.signal), begin("loud", leaving.signal)];
    const stays = begin("loud");
    while (!blocks.includes("2")) await turns.fireAll();
    leaving.abort(new Error("gone"));
    await finish();
    expect([atWork.outcome, inLine.outcome, stays.outcome]).toEqual(["gone", "gone", "encoded"]);
    const perEncode = blocks.filter((owner) => owner === "3").length;
    expect(blocks.filter((owner) => owner === "2").length).toBeLessThan(2 * perEncode);
  });
});

describe("steps", () => {
  let turns: Turns;
  let decoder: BatchingDecoder;
  let steps: Sequence[][];
  let quiet: Sequence;
  let crowd: Sequence[];
  beforeEach(async () => {
    turns = new Turns();
    steps = [];
    const own = engine.decoder;
    // As of about 35 million multiply-adds a row.
    const inner = changed(own, {
      rooms: roomsOf(own, 1820),
      step: (sequences, ...rest) => {
        steps.push([...sequences]);
        return own.step(sequences, ...rest);
      },
    });
    decoder = new BatchingDecoder(inner, turns.take);
    crowd = await decoder.openAll([{ hidden, maxNewTokens: TOKENS, copies: CROWD, owner: "loud" }]);
    quiet = (await decoder.openAll([{ hidden, maxNewTokens: TOKENS, owner: "quiet" }]))[0] as Sequence;
    onTestFinished(() => {
      for (const sequence of [quiet, ...crowd]) decoder.close(sequence);
    });
  });
  /** Each asks for its steps, one after the other. */
  const stream = async (sequence: Sequence, count: number) => {
    for (let i = 0; i < count; i++) await decoder.step([sequence], [0]);
  };

  test("of a quiet one wait for no turn, and for no row of a crowd", async () => {
    const streams = crowd.map((sequence) => stream(sequence, 2));
    await settled();
    const waiting = turns.count;
    await stream(quiet, 5);
    expect(turns.count).toBe(waiting);
    expect(steps).toEqual(Array(5).fill([quiet]));
    while (turns.count > 0) await turns.fireAll();
    await Promise.all(streams);
  });

  test("of a crowd are two rows at a time, with turns for others in between", async () => {
    const streams = crowd.map((sequence) => stream(sequence, 2));
    await settled();
    const rows: number[] = [];
    while (turns.count > 0) {
      const before = steps.length;
      await turns.fireAll();
      rows.push(steps.slice(before).flat().length);
    }
    await Promise.all(streams);
    expect(rows.reduce((sum, count) => sum + count, 0)).toBe(2 * CROWD);
    expect(Math.max(...rows)).toBe(2);
    const once = [...Array(CROWD_TURNS - 1).fill(0), 2];
    expect(rows.slice(0, 2 * CROWD_TURNS)).toEqual([...once, ...once]);
  });

  test("of what was a crowd go together again when the other has gone for good", async () => {
    useFakeDate();
    decoder.close(quiet);
    vi.advanceTimersByTime(10_000);
    const streams = crowd.map((sequence) => stream(sequence, 3));
    await settled();
    while (turns.count > 0) await turns.fireAll();
    await Promise.all(streams);
    expect(Math.max(...steps.map((rows) => rows.length))).toBe(CROWD);
  });
});
