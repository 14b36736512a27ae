/** Which linear layers a low-rank adapter is trained on, by PEFT's names and meanings (peft 0.21, tuners/lora/config.py). */
import { EdgeT5Error } from "../errors.ts";
import { type TensorSpec, tensorsOf } from "../t5/architecture.ts";
import type { T5Config } from "../t5/config.ts";

export interface LoraOptions {
  /** PEFT's `r`. Default 8. */
  rank?: number | undefined;
  /** What comes of it is scaled by alpha ÷ rank. Default: twice the rank. */
  alpha?: number | undefined;
  /** Ends of the modules' names: `q`, `SelfAttention.q`. Default: q and v, as PEFT does for T5. */
  targetModules?: readonly string[] | undefined;
  /** Part of an adapter's inputs that is left out at random. Default 0. */
  dropout?: number | undefined;
  /** Scale by alpha ÷ √rank (arXiv 2312.03732). Default false. */
  rslora?: boolean | undefined;
}

export interface LoraModuleSpec {
  /** `encoder.block.0.layer.0.SelfAttention.q` */
  name: string;
  /** The base's weight, `[out, in]`. */
  weight: string;
  rank: number;
  scale: number;
  in: number;
  out: number;
}

const WEIGHT = ".weight";

/** With what is left out filled in. @throws EdgeT5Error `E_INPUT` */
export function loraSettings(
  options: LoraOptions,
): Required<{ [K in keyof LoraOptions]-?: NonNullable<LoraOptions[K]> }> {
  const { rank = 8, targetModules = ["q", "v"], dropout = 0, rslora = false } = options;
  const { alpha = 2 * rank } = options;
  if (!Number.isInteger(rank) || rank < 1) throw refuse(`its rank is ${rank}`, "Give a whole number of at least 1");
  if (!Number.isFinite(alpha) || alpha === 0) throw refuse(`its alpha is ${alpha}`, "Give a number other than 0");
  if (!(dropout >= 0 && dropout < 1)) throw refuse(`its dropout is ${dropout}`, "Give a part from 0 to below 1");
  return { rank, alpha, targetModules, dropout, rslora };
}

/**
 * The modules that an adapter is for, in the order of the architecture.
 *
 * @throws EdgeT5Error `E_INPUT` for a target that no linear layer's name ends with
 */
export function loraModules(config: T5Config, options: LoraOptions): LoraModuleSpec[] {
  const { rank, alpha, targetModules, rslora } = loraSettings(options);
  const linears = tensorsOf(config, true).filter(({ kind }) => kind === "linear");
  const isTarget = (target: string) => (spec: TensorSpec) => `.${moduleOf(spec)}`.endsWith(`.${target}`);
  const known = [...new Set(linears.map((spec) => moduleOf(spec).split(".").at(-1)))];
  for (const target of targetModules) {
    if (!linears.some(isTarget(target))) {
      throw refuse(`no linear layer is called ${target}`, `Adapters may be for ${known.join(", ")}`);
    }
  }
  const targets = linears.filter((spec) => targetModules.some((target) => isTarget(target)(spec)));
  if (targets.length === 0) throw refuse("it has no target modules", `Name some of ${known.join(", ")}`);
  return targets.map((spec) => ({
    name: moduleOf(spec),
    weight: spec.name,
    rank,
    scale: alpha / (rslora ? Math.sqrt(rank) : rank),
    in: spec.shape[1] ?? 0,
    out: spec.shape[0] ?? 0,
  }));
}

function moduleOf({ name }: TensorSpec): string {
  return name.slice(0, -WEIGHT.length);
}

function refuse(what: string, fix: string): EdgeT5Error {
  return new EdgeT5Error("E_INPUT", `The adapter to train: ${what}. ${fix}.`);
}
