/**
 * Logs: one JSON object a line. They hold no inputs, no outputs and no secrets: of an error its name, its code and where it
 * was thrown, and its message only where that is known to quote nothing of a request.
 */
import { EdgeT5Error } from "../errors.ts";

export type Level = "info" | "warn" | "error";

/** @param message a fixed text, by which lines are found */
export function log(level: Level, message: string, fields: Readonly<Record<string, unknown>> = {}): void {
  const line = JSON.stringify({ time: new Date().toISOString(), level, msg: message, ...fields });
  if (level === "error") console.error(line);
  else if (level === "warn") console.warn(line);
  else console.log(line);
}

export interface LoggedError {
  name: string;
  code?: string;
  message?: string;
  /** Where it was thrown, innermost first. */
  stack: string[];
  cause?: LoggedError;
}

const MOST_FRAMES = 12;
const MOST_CAUSES = 3;
const LONGEST_MESSAGE = 300;

export function errorFields(error: unknown, causes = MOST_CAUSES): LoggedError {
  if (!(error instanceof Error)) return { name: typeof error, stack: [] };
  const code = (error as { code?: unknown }).code;
  const message = quotableMessage(error);
  return {
    name: error.name,
    ...(typeof code === "string" && { code }),
    ...(message !== null && { message: message.slice(0, LONGEST_MESSAGE) }),
    stack: framesOf(error),
    ...(error.cause instanceof Error && causes > 0 && { cause: errorFields(error.cause, causes - 1) }),
  };
}

/** Of storage and of the engine's memory: these name blobs, files and bytes. Others may quote a request. */
const QUOTABLE = /^E_(BLOB|MANIFEST|PACKAGE|TOKENIZER|CAPACITY|BUSY|DECODER_LOST|IO)/;

function quotableMessage(error: Error): string | null {
  const { name, message } = error;
  if (error instanceof EdgeT5Error) return QUOTABLE.test(error.code) ? message : null;
  // The database's: names of tables and columns; values are bound, and not told.
  if (/^D1_/.test(message)) return withoutQuotations(message);
  return ["TypeError", "RangeError", "ReferenceError"].includes(name) ? withoutQuotations(message) : null;
}

function withoutQuotations(text: string): string {
  return text.replace(/(["'`]).*?(\1|$)/gs, "…");
}

/** A stack begins with the message, which may have several lines. */
function framesOf({ stack = "" }: Error): string[] {
  const frames = stack.split("\n").filter((line) => /^\s+at .*:\d+:\d+\)?$/.test(line));
  return frames.slice(0, MOST_FRAMES).map((line) => line.trim().replace(/^at /, ""));
}

/** What is told of one request, in one line, once it has been answered to its end. */
export class RequestLine {
  readonly requestId: string;
  readonly began = Date.now();
  readonly #fields: Record<string, unknown> = {};
  #holds = 0;
  #write: (() => void) | null = null;

  constructor(requestId: string) {
    this.requestId = requestId;
  }

  add(fields: Readonly<Record<string, unknown>>): void {
    Object.assign(this.#fields, fields);
  }

  /** The line waits, as for the end of a stream. @returns called when it need not any more; again is nothing */
  hold(): () => void {
    let isHeld = true;
    this.#holds++;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#holds--;
      this.#writeIfDone();
    };
  }

  /** The answer's head is made. */
  finish(fields: { worker: string; method: string; route: string; status: number }): void {
    this.#write = () =>
      log(fields.status >= 500 ? "error" : "info", "request", {
        ...{ request_id: this.requestId, ...fields },
        ms: Date.now() - this.began,
        ...this.#fields,
      });
    this.#writeIfDone();
  }

  #writeIfDone(): void {
    if (this.#holds > 0 || !this.#write) return;
    this.#write();
    this.#write = null;
  }
}
