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
  // running
  | "E_INPUT"
  | "E_CONTEXT_LENGTH"
  | "E_CAPACITY"
  | "E_BUSY"
  | "E_SEQUENCE_CLOSED"
  | "E_KERNELS"
  | "E_INTERNAL"
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
  E_ADAPTER_NOT_FOUND: 503,
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
