/** Errors as they go over the wire: OpenAI's object, with a stable `code` for whoever matches on it. */
import { EdgeT5Error, type ErrorCode, isGivenUp } from "./errors.ts";

export type ApiErrorType = "invalid_request_error" | "server_error";

export class ApiError extends Error {
  readonly status: number;
  readonly type: ApiErrorType;
  readonly code: string;
  /** The field of the request that is at fault. */
  readonly param: string | null;
  /** Seconds after which another try makes sense. */
  readonly retryAfter: number | null;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    options: {
      param?: string | null;
      retryAfter?: number;
      /** More headers of the answer. */
      headers?: Readonly<Record<string, string>>;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.type = status < 500 ? "invalid_request_error" : "server_error";
    this.param = options.param ?? null;
    this.retryAfter = options.retryAfter ?? null;
    this.#headers = options.headers ?? {};
  }

  /** `{ error: { message, type, param, code } }` */
  body() {
    const { message, type, param, code } = this;
    return { error: { message, type, param, code } };
  }

  headers(): Record<string, string> {
    return { ...this.#headers, ...(this.retryAfter !== null && { "retry-after": String(this.retryAfter) }) };
  }
}

const UNAVAILABLE: ReadonlySet<ErrorCode> = new Set([
  "E_PACKAGE_NOT_FOUND",
  "E_BLOB_MISSING",
  "E_BLOB_CORRUPT",
  "E_MANIFEST",
  "E_MANIFEST_VERSION",
  "E_TOKENIZER",
  "E_ADAPTER_NOT_FOUND",
]);

/** Seconds that a client is asked to wait: storage is mended by people, room comes back by itself. */
const RETRY_STORAGE = 10;
const RETRY_ROOM = 1;

/** What a client is told of an error. Defects keep their details to themselves; the log has them. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (isGivenUp(error)) return new ApiError(499, "given_up", "The client left.", { cause: error });
  if (error instanceof EdgeT5Error) {
    const { code, message } = error;
    if (UNAVAILABLE.has(code)) {
      return new ApiError(503, "model_unavailable", `The model cannot be loaded. ${code}: ${message}`, {
        retryAfter: RETRY_STORAGE,
        cause: error,
      });
    }
    if (code === "E_CAPACITY" || code === "E_BUSY")
      return new ApiError(503, "overloaded", message, { retryAfter: RETRY_ROOM, cause: error });
    if (code === "E_DECODER_LOST")
      return new ApiError(503, "decoder_lost", message, { retryAfter: RETRY_ROOM, cause: error });
    if (code === "E_CONTEXT_LENGTH") return new ApiError(400, "context_length_exceeded", message, { cause: error });
    if (code === "E_ADAPTER") return new ApiError(400, "invalid_adapter", message, { cause: error });
    if (code === "E_FORMAT") return new ApiError(415, "unsupported_format", message, { cause: error });
    if (code === "E_DAMAGED") return new ApiError(422, "damaged_file", message, { cause: error });
    if (code === "E_TOO_LARGE") return new ApiError(413, "content_too_large", message, { cause: error });
    if (code === "E_INPUT") return new ApiError(400, "invalid_value", message, { cause: error });
  }
  return new ApiError(
    500,
    "internal_error",
    "Something failed on our side. Quote the x-request-id when you report it.",
    {
      cause: error,
    },
  );
}
