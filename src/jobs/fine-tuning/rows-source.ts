/** A fine-tuning's rows as the trainer reads them: all of them again and again, each time in another order. */
import { EdgeT5Error } from "../../errors.ts";
import type { Tokenizer } from "../../t5/tokenizer.ts";
import type { Example, ExampleSource, Json } from "../../training/example.ts";
import { randomBits, shuffle } from "../../training/random.ts";
import { linesOf, parseRow } from "../jsonl.ts";
import { parseTrainingRow } from "./spec.ts";

/** In tokens. */
export interface RowLimits {
  input: number;
  target: number;
}

/** @throws EdgeT5Error `E_CONTEXT_LENGTH` naming file and line of a row that is too long */
export async function readExamples(
  filename: string,
  stream: ReadableStream<Uint8Array>,
  tokenizer: Tokenizer,
  limits: RowLimits,
): Promise<Example[]> {
  const examples: Example[] = [];
  for await (const { number, text } of linesOf(stream)) {
    const { input, target } = parseTrainingRow(parseRow(text, number));
    const ids = { input: tokenizer.encode(input), target: tokenizer.encode(target) };
    for (const side of ["input", "target"] as const) {
      if (ids[side].length <= limits[side]) continue;
      throw new EdgeT5Error(
        "E_CONTEXT_LENGTH",
        `${filename}, line ${number}: its ${side} has ${ids[side].length} tokens, and up to ${limits[side]} are taken. Shorten it.`,
      );
    }
    examples.push({ input: Int32Array.from(ids.input), target: Int32Array.from(ids.target) });
  }
  return examples;
}

/** A position is the number of examples before it. */
export class RowsSource implements ExampleSource {
  readonly #examples: readonly Example[];
  readonly #seed: number;

  constructor(examples: readonly Example[], seed: number) {
    this.#examples = examples;
    this.#seed = seed;
  }

  async *read(position: Json | null): AsyncGenerator<{ example: Example; position: Json }> {
    const rows = this.#examples.length;
    let given = (position ?? 0) as number;
    for (let epoch = Math.floor(given / rows); ; epoch++) {
      const order = shuffle(Array.from(this.#examples.keys()), randomBits(this.#seed, epoch, 4));
      for (; given < (epoch + 1) * rows; given++) {
        const example = this.#examples[order[given % rows] ?? 0] as Example;
        yield { example, position: given + 1 };
      }
    }
  }
}
