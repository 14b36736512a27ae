/** What a trainer is fed. */

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** One training example: token ids of the encoder's input and the decoder's target, both ending in eos. */
export interface Example {
  readonly input: Int32Array;
  readonly target: Int32Array;
}

/** A source of examples whose place can be kept and returned to: the same position gives the same examples again. */
export interface ExampleSource {
  /** examples from `position` (null: the start) on; endless for training. Each comes with the position right after it. */
  read(position: Json | null): AsyncIterableIterator<{ example: Example; position: Json }>;
}
