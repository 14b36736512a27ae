/** A Hugging Face checkpoint directory: its small files, and its tensors in one file or in parts. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { EdgeT5Error } from "../src/errors.ts";
import { EMBEDDING, IGNORED_TENSORS, LM_HEAD, type TensorSpec, tensorsOf } from "../src/t5/architecture.ts";
import type { T5Config } from "../src/t5/config.ts";
import { isFloatDtype } from "../src/t5/floats.ts";
import { type CheckpointTokenizer, notFound, type Parts, readIfThere, readParts } from "./checkpoint-parts.ts";
import { SafetensorsFile, type TensorEntry } from "./safetensors.ts";
import { parseIndex, WEIGHTS, WEIGHTS_INDEX } from "./safetensors-index.ts";
import { renumberGeneration, renumberSettings, trimVocabulary } from "./trim-vocabulary.ts";

/** Names under which a file may hold the embedding, best first: tied copies are saved once, under any of them. */
const EMBEDDING_NAMES = [EMBEDDING, "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

interface Located {
  file: SafetensorsFile;
  entry: TensorEntry;
}

/** Tensors with a row a piece of the vocabulary. */
const VOCABULARY_TENSORS: readonly string[] = [EMBEDDING, LM_HEAD];

export class Checkpoint {
  readonly dir: string;
  readonly #files: SafetensorsFile[];
  readonly #tensors: Map<string, Located>;
  readonly #whole: Parts;
  #parts: Parts;
  /** After {@link trim}: the rows of {@link VOCABULARY_TENSORS} that are kept. */
  #kept: ReadonlySet<number> | null = null;

  private constructor(dir: string, parts: Parts, files: SafetensorsFile[], tensors: Map<string, Located>) {
    this.dir = dir;
    this.#parts = parts;
    this.#whole = parts;
    this.#files = files;
    this.#tensors = tensors;
  }

  get config(): T5Config {
    return this.#parts.config;
  }

  /** Pieces before {@link trim}. */
  get wholeVocabSize(): number {
    return this.#whole.config.vocabSize;
  }

  /** `generation_config.json`, null when there is none. */
  get generation(): Record<string, unknown> | null {
    return this.#parts.generation;
  }

  /** Bytes of `tokenizer.json` and `tokenizer_config.json`, or ByT5's bytes; null where there is none. */
  get tokenizer(): CheckpointTokenizer | null {
    return this.#parts.tokenizer;
  }

  /**
   * Reads everything but the weights.
   *
   * @throws EdgeT5Error `E_CHECKPOINT_NOT_FOUND` (a directory or file that is missing), `E_CONFIG`, `E_ARCHITECTURE`,
   * `E_TOKENIZER`, `E_SAFETENSORS`, `E_TENSOR_MISSING` (the index names a tensor that its part does not hold)
   */
  static async open(dir: string): Promise<Checkpoint> {
    if (!(await stat(dir).catch(() => null))?.isDirectory()) {
      throw notFound(
        `${dir} is not a directory. Give the directory that holds config.json and ${WEIGHTS}, or a repository of the hub as OWNER/NAME.`,
      );
    }
    const parts = await readParts(dir);
    const files: SafetensorsFile[] = [];
    try {
      const tensors = await openTensors(dir, files);
      return new Checkpoint(dir, parts, files, tensors);
    } catch (error) {
      await closeAll(files);
      throw error;
    }
  }

  close(): Promise<void> {
    return closeAll(this.#files);
  }

  /**
   * Checks that every tensor of the architecture is there, in its shape and in a float type, before any is read.
   *
   * @returns the tensors to package, and whether the head is the embedding: no `lm_head.weight`, or one that equals it
   * bit by bit
   * @throws EdgeT5Error `E_TENSOR_MISSING`, `E_TENSOR_SHAPE`, `E_TENSOR_DTYPE`
   */
  async plan(): Promise<{ specs: TensorSpec[]; tiedHead: boolean }> {
    const hasHead = this.#tensors.has(LM_HEAD);
    for (const spec of tensorsOf(this.#whole.config, !hasHead)) this.#check(spec);
    const tiedHead = !hasHead || (await this.#equal(EMBEDDING, LM_HEAD));
    return { specs: tensorsOf(this.config, tiedHead), tiedHead };
  }

  /**
   * Cuts the vocabulary down to the pieces that texts use: configuration, tokenizer, embedding and head change together.
   *
   * @throws EdgeT5Error `E_TOKENIZER` without a Unigram tokenizer, `E_INPUT` for a corpus without a text
   */
  async trim(texts: AsyncIterable<string>): Promise<void> {
    const { config, generation, tokenizer } = this.#whole;
    if (!tokenizer || "sentinels" in tokenizer) {
      throw new EdgeT5Error(
        "E_TOKENIZER",
        `${this.dir} has no vocabulary of pieces to trim (${tokenizer ? "ByT5 reads bytes" : "no tokenizer"}). Leave --trim-vocab out.`,
      );
    }
    const always = [config.padTokenId, config.eosTokenId, config.decoderStartTokenId];
    const { places, json } = await trimVocabulary(tokenizer.json, config.vocabSize, always, texts);
    const place = (id: number) => places.get(id) ?? 0;
    this.#kept = new Set(places.keys());
    this.#parts = {
      config: {
        ...config,
        vocabSize: places.size,
        padTokenId: place(config.padTokenId),
        eosTokenId: place(config.eosTokenId),
        decoderStartTokenId: place(config.decoderStartTokenId),
      },
      generation: generation && renumberGeneration(generation, places),
      tokenizer: { json, config: tokenizer.config && renumberSettings(tokenizer.config, places) },
    };
  }

  /** Bytes of a tensor in the checkpoint. */
  sourceBytes(name: string): number {
    return this.#locate(name).entry.bytes;
  }

  /**
   * Values as float32, a few whole rows at a time, those of a vocabulary that was trimmed left out; the array is reused.
   * See {@link SafetensorsFile.rows}.
   */
  rows(name: string): AsyncGenerator<Float32Array> {
    const rows = this.#wholeRows(name);
    if (!this.#kept || !VOCABULARY_TENSORS.includes(name)) return rows;
    return keepRows(rows, this.#whole.config.dModel, this.#kept);
  }

  #wholeRows(name: string): AsyncGenerator<Float32Array> {
    return this.#locate(name).file.rows(this.#sourceName(name));
  }

  /** Which file holds a tensor, for messages. */
  fileOf(name: string): string {
    return this.#locate(name).file.path;
  }

  /** Tensors that no part of the architecture reads. */
  unknownTensors(): string[] {
    const known = new Set(tensorsOf(this.config, false).map((spec) => spec.name));
    return [...this.#tensors.keys()].filter((name) => !known.has(name) && !IGNORED_TENSORS.has(name)).sort();
  }

  #sourceName(name: string): string {
    if (name !== EMBEDDING) return name;
    return EMBEDDING_NAMES.find((candidate) => this.#tensors.has(candidate)) ?? name;
  }

  #locate(name: string): Located {
    const located = this.#tensors.get(this.#sourceName(name));
    if (located) return located;
    throw new EdgeT5Error(
      "E_TENSOR_MISSING",
      `${this.dir}: tensor ${name} is missing. Its config.json describes a model that has it: take both from one export.`,
    );
  }

  #check(spec: TensorSpec): void {
    const { file, entry } = this.#locate(spec.name);
    const where = `${file.path}: tensor ${this.#sourceName(spec.name)}`;
    if (entry.shape.length !== spec.shape.length || entry.shape.some((n, i) => n !== spec.shape[i])) {
      throw new EdgeT5Error(
        "E_TENSOR_SHAPE",
        `${where} has shape [${entry.shape.join(", ")}], config.json asks for [${spec.shape.join(", ")}]. Take both from one export.`,
      );
    }
    if (!isFloatDtype(entry.dtype)) {
      throw new EdgeT5Error(
        "E_TENSOR_DTYPE",
        `${where} is ${entry.dtype}; edge-t5 split reads F32, F16 and BF16. Export the checkpoint in one of these.`,
      );
    }
  }

  /** Whether two tensors of one shape hold the same bits once they are float32. */
  async #equal(a: string, b: string): Promise<boolean> {
    const others = this.#wholeRows(b);
    let left = bitsOf(new Float32Array());
    for await (const chunk of this.#wholeRows(a)) {
      let bits = bitsOf(chunk);
      // Two files of different element types come in chunks of different length.
      while (bits.length > 0) {
        if (left.length === 0) {
          const next = await others.next();
          if (next.done) return false;
          left = bitsOf(next.value);
        }
        const n = Math.min(bits.length, left.length);
        for (let i = 0; i < n; i++) {
          if (bits[i] !== left[i]) {
            await others.return(undefined);
            return false;
          }
        }
        bits = bits.subarray(n);
        left = left.subarray(n);
      }
    }
    return true;
  }
}

/** Moves the rows that are kept together, within the array that a chunk came in. */
async function* keepRows(
  chunks: AsyncIterable<Float32Array>,
  columns: number,
  kept: ReadonlySet<number>,
): AsyncGenerator<Float32Array, void, undefined> {
  let row = 0;
  for await (const chunk of chunks) {
    let end = 0;
    for (let at = 0; at < chunk.length; at += columns, row++) {
      if (!kept.has(row)) continue;
      chunk.copyWithin(end, at, at + columns);
      end += columns;
    }
    if (end > 0) yield chunk.subarray(0, end);
  }
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

async function openTensors(dir: string, files: SafetensorsFile[]): Promise<Map<string, Located>> {
  const single = join(dir, WEIGHTS);
  if (await stat(single).catch(() => null)) {
    const file = await SafetensorsFile.open(single);
    files.push(file);
    return new Map([...file.tensors].map(([name, entry]) => [name, { file, entry }]));
  }
  const index = join(dir, WEIGHTS_INDEX);
  const text = await readIfThere(index);
  if (text === null) {
    throw notFound(
      `Neither ${WEIGHTS} nor ${WEIGHTS_INDEX} in ${dir}. Save the checkpoint with safe_serialization=True.`,
    );
  }
  return openParts(dir, parseIndex(text, index), files);
}

async function openParts(
  dir: string,
  weightMap: Record<string, string>,
  files: SafetensorsFile[],
): Promise<Map<string, Located>> {
  const parts = new Map<string, SafetensorsFile>();
  const tensors = new Map<string, Located>();
  for (const [name, part] of Object.entries(weightMap)) {
    let file = parts.get(part);
    if (!file) {
      const path = join(dir, part);
      if (!(await stat(path).catch(() => null))) {
        throw notFound(`${path} is missing: ${WEIGHTS_INDEX} says that it holds tensor ${name}. Download every part.`);
      }
      file = await SafetensorsFile.open(path);
      files.push(file);
      parts.set(part, file);
    }
    const entry = file.tensors.get(name);
    if (!entry) {
      throw new EdgeT5Error(
        "E_TENSOR_MISSING",
        `${file.path} does not hold tensor ${name}, though ${WEIGHTS_INDEX} says so. Download index and parts from one export.`,
      );
    }
    tensors.set(name, { file, entry });
  }
  return tensors;
}

async function closeAll(files: SafetensorsFile[]): Promise<void> {
  await Promise.all(files.map((file) => file.close()));
}
