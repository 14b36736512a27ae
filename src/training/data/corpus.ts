/** Pretraining data: texts, tokenized once into a folder, packed to length and corrupted as they are read. */
import * as z from "zod";
import { EdgeT5Error } from "../../errors.ts";
import type { Example, ExampleSource, Json } from "../example.ts";
import {
  type Corruption,
  corruptionOf,
  type Denoiser,
  type Sentinels,
  SPAN_CORRUPTION,
  sentinelsOf,
} from "./denoise.ts";
import { type LengthSummary, Lengths } from "./lengths.ts";
import { drawn, PURPOSE, RandomNumbers, shuffledIndex } from "./random.ts";
import { type DataTokenizer, describeSource, parsePosition, wholeNumber } from "./source.ts";
import { textsOf } from "./texts.ts";
import { type Part, readStoreHeader, type StoreHeader, TokenStore, TokenStoreWriter } from "./token-store.ts";

export interface CorpusOptions {
  /** Text (a document a line), TSV, CSV or JSON lines; `.gz` may follow. */
  files: readonly string[];
  /** Of JSON lines: the fields that hold texts. Default: all texts. */
  fields?: readonly string[] | undefined;
  /** Folder for the tokens, for these alone; what is there of the same files, options and tokenizer is used again. */
  dir: string;
  tokenizer: DataTokenizer;
  vocabSize: number;
  /** Share of the documents to measure by, chosen by their hash. Default: 0.01. */
  holdOut?: number | undefined;
  /** @param done bytes of `total` */
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface CorpusReport {
  documents: number;
  /** Tokens of a document. */
  lengths: LengthSummary;
  /** Tokens that the vocabulary has no piece for. */
  unknown: number;
}

/** Fewer tokens than this are no corpus: a run would see nothing else over and over. */
const LEAST_TOKENS = 1000;

/**
 * Reads a corpus through: every line is checked and tokenized before any training.
 *
 * @throws EdgeT5Error `E_DATA_*` naming file, line and reason; the operating system's errors; the signal's reason
 */
export async function prepareCorpus(options: CorpusOptions): Promise<Corpus> {
  const { files, fields, dir, tokenizer, vocabSize, holdOut = 0.01, onProgress, signal } = options;
  const sentinels = sentinelsOf(tokenizer, vocabSize);
  const { source, bytes } = await describeSource(files, { fields: fields ?? null, holdOut }, tokenizer, vocabSize);
  const before = readStoreHeader<CorpusReport>(dir, source);
  if (before) return new Corpus(dir, before, tokenizer, sentinels);
  const unknownId = 2;
  const lengths = new Lengths();
  let unknown = 0;
  let done = 0;
  const onBytes = (read: number) => {
    done += read;
    onProgress?.(done, bytes);
  };
  const writer = new TokenStoreWriter(dir, vocabSize, holdOut);
  try {
    for (const file of files) {
      for await (const text of textsOf(file, { fields, onBytes, signal })) {
        const ids = tokenizer.encode(text).slice(0, -1);
        if (ids.length === 0) continue;
        for (const id of ids) if (id === unknownId) unknown++;
        lengths.add(ids.length);
        writer.add(ids, [], text);
      }
    }
    const report = { documents: writer.count, lengths: lengths.summary(), unknown };
    if (report.lengths.total < LEAST_TOKENS) {
      throw new EdgeT5Error(
        "E_DATA_TOO_SMALL",
        `The corpus has ${report.lengths.total} tokens in ${report.documents} documents, ${LEAST_TOKENS} are needed at least. Give more text.`,
      );
    }
    return new Corpus(dir, writer.finish(source, report), tokenizer, sentinels);
  } finally {
    writer.close();
  }
}

export interface CorruptionOptions {
  /** Longest input, in tokens. Default: 512. */
  inputLength?: number | undefined;
  /** Default: T5's span corruption. */
  denoisers?: readonly Denoiser[] | undefined;
  seed: number;
}

/** Where the next example begins: documents are read in the order of the epoch, one after the other. */
const positionSchema = z.strictObject({
  data: z.string(),
  epoch: wholeNumber,
  /** Number of the document in the epoch's order. */
  document: wholeNumber,
  /** Its first token that was not read. */
  offset: wholeNumber,
  /** Examples before. */
  example: wholeNumber,
});

type Position = z.infer<typeof positionSchema>;

export class Corpus {
  readonly report: CorpusReport;
  readonly #header: StoreHeader<CorpusReport>;
  readonly #store: TokenStore;
  readonly #tokenizer: DataTokenizer;
  readonly #sentinels: Sentinels;

  constructor(dir: string, header: StoreHeader<CorpusReport>, tokenizer: DataTokenizer, sentinels: Sentinels) {
    this.report = header.report;
    this.#header = header;
    this.#store = new TokenStore(dir, header.bytesPerToken);
    this.#tokenizer = tokenizer;
    this.#sentinels = sentinels;
  }

  /** Documents of a part. */
  documents(part: Part): number {
    return this.#header.records[part];
  }

  /** Endless, shuffled by `seed` anew in every epoch; texts are packed to length across documents, as T5's were. */
  train(options: CorruptionOptions): ExampleSource {
    return { read: (position) => this.#read("train", options, position, Number.POSITIVE_INFINITY) };
  }

  /** The documents that are held out, once; always with the same noise. */
  heldOut(options: CorruptionOptions): ExampleSource {
    return { read: (position) => this.#read("held-out", options, position, 1) };
  }

  /** @throws EdgeT5Error `E_USAGE` for options that leave nothing to read or write, `E_DATA_CHANGED` */
  async *#read(
    part: Part,
    { inputLength = 512, denoisers = SPAN_CORRUPTION, seed }: CorruptionOptions,
    from: Json | null,
    epochs: number,
  ): AsyncGenerator<{ example: Example; position: Json }, void, undefined> {
    const corruptions = denoisers.map((denoiser) =>
      corruptionOf(denoiser, inputLength, this.#tokenizer, this.#sentinels),
    );
    const weights = corruptions.map(({ weight }) => weight);
    const data = this.#header.content;
    let position: Position = { data, epoch: 0, document: 0, offset: 0, example: 0 };
    if (from !== null) position = parsePosition(positionSchema, from, data);
    if (this.documents(part) === 0) return;
    while (position.epoch < epochs) {
      const random = new RandomNumbers(seed, PURPOSE.noise, position.example);
      const corruption = corruptions[drawn(weights, random.unit())] as Corruption;
      const { tokens, next } = this.#pack(part, position, corruption.textLength, seed, epochs);
      // The last token of the last epoch is too little to take something away from.
      if (tokens.length < 2) return;
      position = next;
      yield { example: corruption.apply(tokens, random), position };
    }
  }

  /** The next `length` tokens, over the ends of documents and epochs. */
  #pack(
    part: Part,
    from: Position,
    length: number,
    seed: number,
    epochs: number,
  ): { tokens: Int32Array; next: Position } {
    const documents = this.documents(part);
    const tokens = new Int32Array(length);
    let { epoch, document, offset } = from;
    let filled = 0;
    while (filled < length && epoch < epochs) {
      const number = part === "train" ? shuffledIndex(document, documents, seed, epoch) : document;
      const { input } = this.#store.read(part, number);
      const taken = input.subarray(offset, offset + length - filled);
      tokens.set(taken, filled);
      filled += taken.length;
      offset += taken.length;
      if (offset < input.length) break;
      offset = 0;
      document++;
      if (document < documents) continue;
      document = 0;
      epoch++;
    }
    return {
      tokens: tokens.subarray(0, filled),
      next: { data: from.data, epoch, document, offset, example: from.example + 1 },
    };
  }

  close(): void {
    this.#store.close();
  }
}
