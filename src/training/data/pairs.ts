/** Fine-tuning data: rows of inputs and targets, checked and tokenized once into a folder, then read in any order. */
import * as z from "zod";
import { EdgeT5Error } from "../../errors.ts";
import type { Example, ExampleSource, Json } from "../example.ts";
import type { Pair, PairFormat } from "./columns.ts";
import { type LengthSummary, Lengths } from "./lengths.ts";
import { Problems } from "./problems.ts";
import { shuffledIndex } from "./random.ts";
import { type PairOfRow, pairsOf } from "./read-pairs.ts";
import type { Problem } from "./rows.ts";
import { type DataTokenizer, describeSource, parsePosition, wholeNumber } from "./source.ts";
import { hashOf, type Part, readStoreHeader, type StoreHeader, TokenStore, TokenStoreWriter } from "./token-store.ts";

export interface PairsOptions extends PairFormat {
  /** JSON lines, CSV or TSV; `.gz` may follow. */
  files: readonly string[];
  /** Folder for the tokens, for these alone; what is there of the same files, options and tokenizer is used again. */
  dir: string;
  tokenizer: DataTokenizer;
  vocabSize: number;
  /** Longest input and target, in tokens, eos included. Default: 512, 256. */
  maxInputTokens?: number | undefined;
  maxTargetTokens?: number | undefined;
  /** Cut what is longer, instead of refusing it. */
  truncate?: boolean | undefined;
  /** Share of the rows to measure by, chosen by their input's hash; 0 for files that are for training, or not, as a whole. */
  holdOut: number;
  /** Fewest rows. Default: 8. */
  minRows?: number | undefined;
  /** @param done bytes of `total` */
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface PairsReport {
  rows: number;
  inputs: LengthSummary;
  targets: LengthSummary;
  /** Rows that were cut. */
  truncated: number;
  /** Tokens, of inputs and targets, that the vocabulary has no piece for. */
  unknown: { inputs: number; targets: number };
}

const UNKNOWN = 2;

/**
 * Reads the files through: every row is checked and tokenized before any training.
 *
 * @throws EdgeT5Error `E_DATA_*` naming file, line and reason of the first broken rows; the operating system's errors; the
 * signal's reason
 */
export async function preparePairs(options: PairsOptions): Promise<Pairs> {
  const { files, dir, tokenizer, vocabSize, holdOut, onProgress, signal } = options;
  const { maxInputTokens = 512, maxTargetTokens = 256, truncate = false, minRows = 8 } = options;
  const { template, columns, target, labels, cut } = options;
  const described = { template, columns, target, labels, cut, maxInputTokens, maxTargetTokens, truncate, holdOut };
  const { source, bytes } = await describeSource(
    files,
    JSON.parse(JSON.stringify(described)) as Json,
    tokenizer,
    vocabSize,
  );
  const before = readStoreHeader<PairsReport>(dir, source);
  if (before) return new Pairs(options, before);

  const check = new RowCheck(tokenizer, maxInputTokens, maxTargetTokens, truncate);
  let done = 0;
  const onBytes = (read: number) => {
    done += read;
    onProgress?.(done, bytes);
  };
  const writer = new TokenStoreWriter(dir, vocabSize, holdOut);
  try {
    for await (const pair of pairsOf(options, { onBytes, signal })) check.add(pair, writer);
    check.throwIfBroken();
    if (writer.count < minRows) {
      const message = `The data has ${writer.count} rows, ${minRows} are needed at least. Give more rows.`;
      throw new EdgeT5Error("E_DATA_TOO_SMALL", message);
    }
    return new Pairs(options, writer.finish(source, check.report(writer.count)));
  } finally {
    writer.close();
  }
}

/** Tokenizes pairs, and gathers what is wrong with them and how long they are. */
class RowCheck {
  readonly #tokenizer: DataTokenizer;
  readonly #limits: { input: number; target: number };
  readonly #truncate: boolean;
  readonly #broken = new Problems();
  readonly #tooLong = new Problems();
  readonly #inputs = new Lengths();
  readonly #targets = new Lengths();
  readonly #unknown = { inputs: 0, targets: 0 };
  #truncated = 0;

  constructor(tokenizer: DataTokenizer, input: number, target: number, truncate: boolean) {
    this.#tokenizer = tokenizer;
    this.#limits = { input, target };
    this.#truncate = truncate;
  }

  add(pair: PairOfRow | Problem, writer: TokenStoreWriter): void {
    if ("code" in pair) this.#broken.add(pair);
    else this.#addPair(pair, writer);
  }

  #addPair(pair: PairOfRow, writer: TokenStoreWriter): void {
    const input = this.#encode(pair.input, pair.where);
    const target = this.#encode(pair.target, pair.where);
    if (!input || !target) return;
    this.#inputs.add(input.length);
    this.#targets.add(target.length);
    const isLong = input.length > this.#limits.input || target.length > this.#limits.target;
    if (isLong && !this.#truncate) {
      const reason = `it has ${input.length} tokens of input and ${target.length} of target`;
      this.#tooLong.add({ code: "E_DATA_LENGTH", where: pair.where, reason });
      return;
    }
    if (isLong) this.#truncated++;
    for (const id of input) if (id === UNKNOWN) this.#unknown.inputs++;
    for (const id of target) if (id === UNKNOWN) this.#unknown.targets++;
    writer.add(shortened(input, this.#limits.input), shortened(target, this.#limits.target), pair.input);
  }

  #encode(text: string, where: string): number[] | null {
    try {
      return this.#tokenizer.encode(text);
    } catch (error) {
      if (!(error instanceof EdgeT5Error)) throw error;
      this.#broken.add({ code: "E_DATA_LENGTH", where, reason: error.message });
      return null;
    }
  }

  /** @throws EdgeT5Error `E_DATA_*` of the first broken row, else of those that are too long */
  throwIfBroken(): void {
    this.#broken.throwIfAny("Mend or drop these rows; nothing was trained.");
    const { input, target } = this.#limits;
    this.#tooLong.throwIfAny(
      `The limits are ${input} and ${target} tokens; the longest rows have ${this.#inputs.summary().longest} and ${this.#targets.summary().longest}. Raise the limits, or ask for longer rows to be cut.`,
    );
  }

  report(rows: number): PairsReport {
    return {
      rows,
      inputs: this.#inputs.summary(),
      targets: this.#targets.summary(),
      truncated: this.#truncated,
      unknown: this.#unknown,
    };
  }
}

/** Cut to the limit, its eos kept. */
function shortened(ids: readonly number[], limit: number): readonly number[] {
  return ids.length <= limit ? ids : [...ids.slice(0, limit - 1), ids.at(-1) as number];
}

const positionSchema = z.strictObject({
  data: z.string(),
  epoch: wholeNumber,
  /** Number of the next row in the epoch's order. */
  row: wholeNumber,
});

export class Pairs {
  readonly report: PairsReport;
  readonly #options: PairsOptions;
  readonly #header: StoreHeader<PairsReport>;
  readonly #store: TokenStore;

  constructor(options: PairsOptions, header: StoreHeader<PairsReport>) {
    this.report = header.report;
    this.#options = options;
    this.#header = header;
    this.#store = new TokenStore(options.dir, header.bytesPerToken);
  }

  /** Rows of a part. */
  rows(part: Part): number {
    return this.#header.records[part];
  }

  /** Endless, every row once an epoch, shuffled by `seed` anew in each. */
  train(seed: number): ExampleSource {
    const count = this.rows("train");
    return {
      read: (position) =>
        this.#read("train", position, Number.POSITIVE_INFINITY, (row, epoch) => shuffledIndex(row, count, seed, epoch)),
    };
  }

  /** The rows of a part, once, in the files' order. */
  once(part: Part): ExampleSource {
    return { read: (position) => this.#read(part, position, 1, (row) => row) };
  }

  /** @throws EdgeT5Error `E_DATA_CHANGED` for a position in other data */
  async *#read(
    part: Part,
    from: Json | null,
    epochs: number,
    order: (row: number, epoch: number) => number,
  ): AsyncGenerator<{ example: Example; position: Json }, void, undefined> {
    const data = this.#header.content;
    let { epoch, row } = from === null ? { epoch: 0, row: 0 } : parsePosition(positionSchema, from, data);
    const count = this.rows(part);
    if (count === 0) return;
    while (epoch < epochs) {
      const example = this.#store.read(part, order(row, epoch));
      row++;
      if (row === count) {
        row = 0;
        epoch++;
      }
      yield { example, position: { data, epoch, row } };
    }
  }

  /** Texts of a part's rows, to generate from and to measure by: read from the files again, in their order. */
  async *texts(part: Part, signal?: AbortSignal): AsyncGenerator<Pair, void, undefined> {
    for await (const pair of pairsOf(this.#options, { signal })) {
      if ("code" in pair)
        throw new EdgeT5Error("E_DATA_CHANGED", `${pair.where} was changed: ${pair.reason}. Begin anew.`);
      const isHeldOut = hashOf(pair.input) < this.#header.heldOutBelow;
      if (isHeldOut === (part === "held-out")) yield { input: pair.input, target: pair.target };
    }
  }

  close(): void {
    this.#store.close();
  }
}
