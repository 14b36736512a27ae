/** What is measured of every engine: the same steps and encodings, through the interface that all engines have. */
import type { Engine, Sequence } from "../../src/t5/engine.ts";

export const PEER_LIMITS = { maxInputTokens: 512, maxNewTokens: 128, maxSequences: 1 };

const PROMPT_TOKENS = 128;
/** Steps are timed from this position on, so that the middle one is at position 32. */
const FIRST_POSITION = 24;
export const PEER_STEPS = 16;

export const PEER_OPERATIONS = ["nothing", "prepare", "steps", "encode128", "encode512"] as const;
export type PeerOperation = (typeof PEER_OPERATIONS)[number];

export class PeerSubject {
  readonly #engine: Engine;
  #hidden: Float32Array | null = null;
  #sequence: Sequence | null = null;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Runs one operation; what it gives is returned so that nothing is optimized away. */
  async run(operation: PeerOperation): Promise<number> {
    const { encoder, decoder } = this.#engine;
    switch (operation) {
      case "nothing":
        return 0;
      case "prepare":
        this.#hidden ??= await encoder.encode(promptOf(PROMPT_TOKENS));
        if (this.#sequence) decoder.close(this.#sequence);
        this.#sequence = await decoder.open(this.#hidden, PEER_LIMITS.maxNewTokens);
        return this.#steps(FIRST_POSITION);
      case "steps":
        return this.#steps(PEER_STEPS);
      case "encode128":
        return (await encoder.encode(promptOf(128)))[0] ?? 0;
      case "encode512":
        return (await encoder.encode(promptOf(512)))[0] ?? 0;
    }
  }

  /** One step; what came before gave `token`. */
  async step(token: number = this.#engine.decoder.config.decoderStartTokenId): Promise<number> {
    if (!this.#sequence) throw new Error("prepare comes before steps.");
    return (await this.#engine.decoder.step([this.#sequence], [token])).argmax(0);
  }

  async #steps(n: number): Promise<number> {
    let token = await this.step();
    for (let i = 1; i < n; i++) token = await this.step(token);
    return token;
  }
}

function promptOf(tokens: number): Int32Array {
  return Int32Array.from({ length: tokens }, (_, i) => (i === tokens - 1 ? 1 : 100 + ((i * 7919) % 30000)));
}
