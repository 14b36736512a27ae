/** Times a subject from outside, floors and engine in turn, and turns medians into figures. */

import type { KernelName } from "../../src/kernels/index.ts";
import type { Manifest } from "../../src/t5/manifest.ts";
import { DIGITS } from "./floors.ts";
import {
  DOT_TURNS,
  encodeMultiplyAdds,
  type Operation,
  PROMPT_TOKENS,
  SINGLE_STEPS,
  STEPS,
  stepBytes,
} from "./subject.ts";

export interface Figures {
  /** Fastest read loop, bytes a second / 1e9. */
  read_gb_per_s: number;
  step_floor_ms: number;
  step_ms: number;
  step_over_floor: number;
  /** A step of four beams ÷ one's, ÷ the digits of an activation. */
  beams4_over_1: number;
  /** Peak of the kernel's own dot, multiply-adds a second / 1e9. */
  dot_gmac_per_s: number;
  encode_floor_ms: number;
  encode128_ms: number;
  encode_over_floor: number;
}

/** Milliseconds that `operation` takes, seen from outside. */
export type Timer = (operation: Operation) => Promise<number>;

const ORDER: Operation[] = [
  "nothing",
  "prepare",
  "read-one",
  "steps",
  "read-four",
  "prepare-beams",
  "beam-steps",
  "encode",
  "dots",
];

/**
 * @param rounds how often everything is timed, in turn; figures are medians over rounds, ratios medians of each
 *   round's ratio, so that a machine whose speed drifts changes both sides
 */
export async function measure(
  time: Timer,
  manifest: Manifest,
  kernels: KernelName,
  macsPerTurn: number,
  rounds: number,
  onRound: (round: number) => void = () => {},
): Promise<Figures> {
  const bytes = stepBytes(manifest);
  const multiplyAdds = encodeMultiplyAdds(manifest, PROMPT_TOKENS) * DIGITS[kernels];
  const series: Record<keyof Figures, number[]> = {
    read_gb_per_s: [],
    step_floor_ms: [],
    step_ms: [],
    step_over_floor: [],
    beams4_over_1: [],
    dot_gmac_per_s: [],
    encode_floor_ms: [],
    encode128_ms: [],
    encode_over_floor: [],
  };
  // Two rounds to warm up: compilers and caches.
  for (let round = -2; round < rounds; round++) {
    onRound(round);
    const ms = {} as Record<Operation, number>;
    for (const operation of ORDER) ms[operation] = await time(operation);
    if (round < 0) continue;
    const net = (operation: Operation) => Math.max(ms[operation] - ms.nothing, 1e-6);
    const floor = Math.min(net("read-one"), net("read-four")) / SINGLE_STEPS;
    const step = net("steps") / SINGLE_STEPS;
    const macsPerMs = (DOT_TURNS * macsPerTurn) / net("dots");
    const encodeFloor = multiplyAdds / macsPerMs;
    series.read_gb_per_s.push(bytes / floor / 1e6);
    series.step_floor_ms.push(floor);
    series.step_ms.push(step);
    series.step_over_floor.push(step / floor);
    series.beams4_over_1.push(net("beam-steps") / STEPS / step / DIGITS[kernels]);
    series.dot_gmac_per_s.push(macsPerMs / 1e6);
    series.encode_floor_ms.push(encodeFloor);
    series.encode128_ms.push(net("encode"));
    series.encode_over_floor.push(net("encode") / encodeFloor);
  }
  return Object.fromEntries(Object.entries(series).map(([key, values]) => [key, median(values)])) as unknown as Figures;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
