/**
 * One error type for the whole kit: a stable code, an HTTP status for the edge, and a message that says what, why and
 * how to fix. Anything else that is thrown is a defect of ours.
 */

/** Stable codes: a caller may match on them; messages may change. */
export type ErrorCode =
  // checkpoints and packages
  | "E_CONFIG"
  | "E_ARCHITECTURE"
  | "E_CHECKPOINT_NOT_FOUND"
  | "E_CHECKPOINT_ACCESS"
  | "E_SAFETENSORS"
  | "E_TENSOR_MISSING"
  | "E_TENSOR_SHAPE"
  | "E_TENSOR_DTYPE"
  | "E_TENSOR_VALUE"
  | "E_MANIFEST"
  | "E_MANIFEST_VERSION"
  | "E_PACKAGE_NOT_FOUND"
  | "E_BLOB_MISSING"
  | "E_BLOB_CORRUPT"
  | "E_TOKENIZER"
  // adapters
  | "E_ADAPTER"
  | "E_ADAPTER_NOT_FOUND"
  // training data
  | "E_DATA_FILE"
  | "E_DATA_ENCODING"
  | "E_DATA_ROW"
  | "E_DATA_COLUMN"
  | "E_DATA_EMPTY"
  | "E_DATA_LABEL"
  | "E_DATA_LENGTH"
  | "E_DATA_TOO_SMALL"
  | "E_DATA_CHANGED"
  // files to be read
  | "E_FORMAT"
  | "E_DAMAGED"
  | "E_TOO_LARGE"
  // running
  | "E_INPUT"
  | "E_CONTEXT_LENGTH"
  | "E_CAPACITY"
  | "E_BUSY"
  | "E_SEQUENCE_CLOSED"
  | "E_KERNELS"
  | "E_INTERNAL"
  | "E_GIVEN_UP"
  | "E_DECODER_LOST"
  // training
  | "E_DIVERGED"
  | "E_PROVIDER"
  // command line
  | "E_USAGE"
  | "E_IO";

const STATUS: Partial<Record<ErrorCode, number>> = {
  E_INPUT: 400,
  E_CONTEXT_LENGTH: 400,
  E_USAGE: 400,
  // Nobody reads it: the status is what the log shows.
  E_GIVEN_UP: 499,
  E_CAPACITY: 503,
  E_BUSY: 503,
  E_DECODER_LOST: 503,
  E_PACKAGE_NOT_FOUND: 503,
  E_BLOB_MISSING: 503,
  E_BLOB_CORRUPT: 503,
  E_MANIFEST: 503,
  E_MANIFEST_VERSION: 503,
  E_TOKENIZER: 503,
  E_ADAPTER: 400,
  E_DATA_FILE: 400,
  E_DATA_ENCODING: 400,
  E_DATA_ROW: 400,
  E_DATA_COLUMN: 400,
  E_DATA_EMPTY: 400,
  E_DATA_LABEL: 400,
  E_DATA_LENGTH: 400,
  E_DATA_TOO_SMALL: 400,
  E_DATA_CHANGED: 409,
  E_ADAPTER_NOT_FOUND: 503,
  E_FORMAT: 415,
  E_DAMAGED: 422,
  E_TOO_LARGE: 413,
};

export class EdgeT5Error extends Error {
  readonly code: ErrorCode;
  /** HTTP status that an edge handler answers with. */
  readonly status: number;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "EdgeT5Error";
    this.code = code;
    this.status = STATUS[code] ?? 500;
  }
}

/** Whether who asked gave it up: the reason of an aborted signal, here or in another Worker. No failure. */
export function isGivenUp(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || (error as EdgeT5Error).code === "E_GIVEN_UP");
}
