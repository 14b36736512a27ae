/**
 * A SentencePiece model (`spiece.model`) as Hugging Face's `tokenizer.json`: what transformers' T5Converter makes of it.
 * Messages and field numbers: sentencepiece_model.proto (github.com/google/sentencepiece).
 */
import { PbfReader } from "pbf";
import { EdgeT5Error } from "../src/errors.ts";
import { t5TokenizerJson } from "../src/t5/tokenizer-json.ts";

const UNIGRAM = 1;

interface SentencePieceModel {
  pieces: { piece: string; score: number }[];
  modelType: number;
  unknownId: number;
  byteFallback: boolean;
  charsmap: Uint8Array;
}

/**
 * @param bytes of `spiece.model`
 * @param extraIds sentinels that follow its pieces: 100 for T5, 0 for mT5
 * @param source for messages
 * @returns the object of a `tokenizer.json`
 * @throws EdgeT5Error `E_TOKENIZER` for bytes that are no Unigram model
 */
export function tokenizerFromSentencePiece(bytes: Uint8Array, extraIds: number, source: string): object {
  const { pieces, modelType, unknownId, byteFallback, charsmap } = parse(bytes, source);
  if (modelType !== UNIGRAM) {
    throw new EdgeT5Error(
      "E_TOKENIZER",
      `${source} is not a Unigram model. Put the checkpoint's tokenizer.json beside it.`,
    );
  }
  const endId = pieces.findIndex(({ piece }) => piece === "</s>");
  if (endId < 0) throw new EdgeT5Error("E_TOKENIZER", `${source} has no piece </s>. It is not a T5's.`);
  return t5TokenizerJson({
    pieces,
    endId,
    unknownId,
    sentinels: extraIds,
    normalizer:
      charsmap.length > 0
        ? { type: "Precompiled", precompiled_charsmap: Buffer.from(charsmap).toString("base64") }
        : null,
    byteFallback,
  });
}

function parse(bytes: Uint8Array, source: string): SentencePieceModel {
  const model: SentencePieceModel = {
    pieces: [],
    modelType: 0,
    unknownId: 0,
    byteFallback: false,
    charsmap: new Uint8Array(),
  };
  const reader = new PbfReader(bytes);
  let cause: unknown;
  try {
    reader.readFields((field, into) => {
      if (field === 1) into.pieces.push(reader.readMessage(readPiece, { piece: "", score: 0 }));
      else if (field === 2) reader.readMessage(readTrainer, Object.assign(into, { modelType: UNIGRAM }));
      else if (field === 3) reader.readMessage(readNormalizer, into);
    }, model);
  } catch (error) {
    cause = error;
  }
  // What was cut off has no trainer's description, or a message that goes on beyond the end.
  if (cause || reader.pos !== bytes.length || model.pieces.length === 0 || model.modelType === 0) {
    throw new EdgeT5Error("E_TOKENIZER", `${source} is not a whole SentencePiece model. Download it again.`, { cause });
  }
  return model;
}

function readPiece(field: number, piece: SentencePieceModel["pieces"][number], reader: PbfReader): void {
  if (field === 1) piece.piece = reader.readString();
  else if (field === 2) piece.score = reader.readFloat();
}

function readTrainer(field: number, model: SentencePieceModel, reader: PbfReader): void {
  if (field === 3) model.modelType = reader.readVarint();
  else if (field === 35) model.byteFallback = reader.readBoolean();
  else if (field === 40) model.unknownId = reader.readVarint();
}

function readNormalizer(field: number, model: SentencePieceModel, reader: PbfReader): void {
  if (field === 2) model.charsmap = reader.readBytes().slice();
}
