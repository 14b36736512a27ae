/** T5's encoder stack on onnxruntime, a session a shard. */
import type { TypedTensor } from "onnxruntime-common";
import type { T5Config } from "../../t5/config.ts";
import type { Encoder, HeldAdapter } from "../../t5/engine.ts";
import type { Part } from "../../t5/manifest.ts";
import { checkedHidden, checkedIds } from "../input.ts";
import { refuseAdapter } from "./adapters.ts";
import type { Feeds, OnnxRuntime, Session } from "./runtime.ts";

export class OnnxEncoder implements Encoder {
  readonly config: T5Config;
  readonly isFirst: boolean;
  readonly maxInputTokens: number;
  readonly #runtime: OnnxRuntime;
  readonly #sessions: readonly Session[];
  #last: Promise<unknown> = Promise.resolve();

  /** @param sessions of the shards, in the order of their layers */
  constructor(
    runtime: OnnxRuntime,
    config: T5Config,
    { isFirst }: Part,
    sessions: readonly Session[],
    maxInputTokens: number,
  ) {
    this.config = config;
    this.maxInputTokens = maxInputTokens;
    this.#runtime = runtime;
    this.#sessions = sessions;
    this.isFirst = isFirst;
  }

  async encode(ids: ArrayLike<number>, before?: Float32Array, adapter?: HeldAdapter): Promise<Float32Array> {
    refuseAdapter(adapter);
    const checked = checkedIds(ids, this.config, this.maxInputTokens);
    const hidden = checkedHidden(before, checked.length, this.config, this.isFirst);
    // A session runs one input at a time.
    const run = this.#last.then(() => this.#run(checked, hidden));
    this.#last = run.catch(() => {});
    return run;
  }

  async #run(ids: readonly number[], hidden: Float32Array | null): Promise<Float32Array> {
    const { Tensor } = this.#runtime;
    const shape = [1, ids.length];
    const attention_mask = new Tensor("int64", new BigInt64Array(ids.length).fill(1n), shape);
    let states: Feeds[string] | null = hidden && new Tensor("float32", hidden, [1, ids.length, this.config.dModel]);
    for (const session of this.#sessions) {
      const made: Feeds = await session.run({
        ...(states
          ? { hidden_states: states }
          : { input_ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), shape) }),
        attention_mask,
      });
      states = (made.last_hidden_state ?? made.next_hidden_states) as Feeds[string];
    }
    return (states as TypedTensor<"float32">).data.slice();
  }
}
