/**
 * Where a request runs: at the edge, or at the origin when it is too heavy. Some bounds are the Workers' own (what is over
 * them cannot run at the edge), others are wishes (what is over them runs at the edge while the origin is away).
 */
import type { T5Config } from "../t5/config.ts";
import { inputsOfCall, type Load, MOST_LIST_CALLS, workerMs } from "./work.ts";

/** A task's own rule; null: as the deployment has it. */
export interface PlacementRule {
  /** `edge`: never at the origin; `origin`: there whatever its weight, and at the edge while the origin is away. */
  run: "auto" | "edge" | "origin";
  /** Heavier requests go to the origin. */
  edge: { prompt_tokens: number | null; inputs: number | null; beam_tokens: number | null; cpu_ms: number | null };
}

export const AUTO: PlacementRule = {
  run: "auto",
  edge: { prompt_tokens: null, inputs: null, beam_tokens: null, cpu_ms: null },
};

/** What the edge can do, and should. */
export interface EdgeBounds {
  /** What its Workers planned their memory for. */
  promptTokens: number;
  newTokens: number;
  maxSequences: number;
  /** Whether its Workers have room for the model. */
  fitsModel: boolean;
  /** Processor time of one Worker's part, in milliseconds: the platform ends one that takes more. */
  cpuMs: number;
  /** Wishes: inputs of a request, and sequences × new tokens of one input. */
  inputs: number;
  beamTokens: number;
}

export type Reason = "task" | "model" | "prompt_tokens" | "new_tokens" | "cpu_ms" | "inputs" | "beam_tokens";

export type Decision =
  | {
      at: "edge";
      /** Whether the origin may do it in the edge's place, which may turn out to have no room. */
      originMay: boolean;
    }
  | {
      at: "origin";
      reason: Reason;
      /** The request's, and what it is over; null where it is not a number that decides. */
      over: { value: number; bound: number } | null;
      /** Whether the edge could do it in the origin's place. */
      edgeCan: boolean;
    };

/**
 * @param load whose lengths are within the limits of the origin, or of the edge where there is no origin
 * @param hasOrigin whether the deployment has one, there or not
 */
export function place(
  load: Load,
  config: T5Config,
  { run, edge: own }: PlacementRule,
  edge: EdgeBounds,
  hasOrigin: boolean,
): Decision {
  if (run === "edge" || (run === "auto" && !hasOrigin)) return { at: "edge", originMay: false };
  const cpuMs = Math.ceil(workerMs(config, load, edge.maxSequences));
  const beamTokens = load.sequences * load.newTokens;
  type Check = [reason: Reason, value: number, bound: number];
  const limits: Check[] = [
    ["prompt_tokens", load.promptTokens, edge.promptTokens],
    ["new_tokens", load.newTokens, edge.newTokens],
    ["cpu_ms", cpuMs, edge.cpuMs],
    ["inputs", load.inputs, MOST_LIST_CALLS * inputsOfCall(config, load, edge.cpuMs)],
  ];
  const wishes: Check[] = [
    ["prompt_tokens", load.promptTokens, own.prompt_tokens ?? Number.POSITIVE_INFINITY],
    ["cpu_ms", cpuMs, own.cpu_ms ?? Number.POSITIVE_INFINITY],
    ["inputs", load.inputs, own.inputs ?? edge.inputs],
    ["beam_tokens", beamTokens, own.beam_tokens ?? edge.beamTokens],
  ];
  const isOver = ([, value, bound]: Check) => value > bound;
  const limit = limits.find(isOver);
  const edgeCan = edge.fitsModel && !limit;
  const origin = (reason: Reason, over: { value: number; bound: number } | null = null) =>
    ({ at: "origin", reason, over, edgeCan }) as const;
  if (!edge.fitsModel) return origin("model");
  const first = limit ?? wishes.find(isOver);
  if (first) return origin(first[0], { value: first[1], bound: first[2] });
  return run === "origin" ? origin("task") : { at: "edge", originMay: hasOrigin };
}
