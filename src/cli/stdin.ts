/** What comes on stdin: a text, or a file. */
import { buffer } from "node:stream/consumers";
import { isTextKind, sniff } from "../readers/sniff.ts";

/** A prompt as it was given: typed, when it may be a file's path, or on stdin, where it may be the file itself. */
export type GivenPrompt =
  | { readonly from: "argument" | "stdin"; readonly text: string }
  | { readonly from: "stdin"; readonly file: Uint8Array<ArrayBuffer> };

export async function readStdin(): Promise<GivenPrompt> {
  // Not Node's Buffer: pdf.js refuses it.
  return pipedOf(new Uint8Array(await buffer(process.stdin)));
}

/** UTF-8 is a text, unless it begins as a file does; all else is a file. */
export function pipedOf(bytes: Uint8Array<ArrayBuffer>): GivenPrompt {
  const text = textOf(bytes);
  return text === null || isFile(bytes) ? { from: "stdin", file: bytes } : { from: "stdin", text };
}

function textOf(bytes: Uint8Array): string | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

function isFile(bytes: Uint8Array): boolean {
  try {
    return !isTextKind(sniff(bytes));
  } catch {
    // A text that speaks of PDF's header.
    return false;
  }
}
