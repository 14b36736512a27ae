/** T5's encoder stack on onnxruntime. */
import type { TypedTensor } from "onnxruntime-common";
import type { T5Config } from "../../t5/config.ts";
import type { Encoder } from "../../t5/engine.ts";
import { checkedIds } from "../input.ts";
import type { OnnxRuntime, Session } from "./runtime.ts";

export class OnnxEncoder implements Encoder {
  readonly config: T5Config;
  readonly maxInputTokens: number;
  readonly #runtime: OnnxRuntime;
  readonly #session: Session;
  #last: Promise<unknown> = Promise.resolve();

  constructor(runtime: OnnxRuntime, config: T5Config, session: Session, maxInputTokens: number) {
    this.config = config;
    this.maxInputTokens = maxInputTokens;
    this.#runtime = runtime;
    this.#session = session;
  }

  async encode(ids: ArrayLike<number>): Promise<Float32Array> {
    const checked = checkedIds(ids, this.config, this.maxInputTokens);
    const { Tensor } = this.#runtime;
    const shape = [1, checked.length];
    const feeds = {
      input_ids: new Tensor("int64", BigInt64Array.from(checked, BigInt), shape),
      attention_mask: new Tensor("int64", new BigInt64Array(checked.length).fill(1n), shape),
    };
    // A session runs one input at a time.
    const run = this.#last.then(() => this.#session.run(feeds));
    this.#last = run.catch(() => {});
    const { last_hidden_state } = await run;
    return (last_hidden_state as TypedTensor<"float32">).data.slice();
  }
}
