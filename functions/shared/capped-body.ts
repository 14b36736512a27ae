/** A request's body, read no further than a limit. */
import { EdgeT5Error } from "../../src/errors.ts";
import { type ReadLimits, tooLarge } from "../../src/readers/limits.ts";

/** @throws EdgeT5Error `E_TOO_LARGE` before reading where its length is declared; `E_INPUT` for none */
export async function cappedBody({ headers, body }: Request, limits: ReadLimits): Promise<Uint8Array<ArrayBuffer>> {
  const declared = Number(headers.get("content-length") ?? 0);
  if (declared > limits.maxBytes) throw tooLarge(`The file has ${declared} bytes`, "maxBytes", limits);
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of body ?? []) {
    length += part.length;
    if (length > limits.maxBytes) throw tooLarge("The file has more bytes", "maxBytes", limits);
    parts.push(part);
  }
  if (length === 0)
    throw new EdgeT5Error("E_INPUT", "The file is empty, or there is none. Send one with something in it.");
  const bytes = new Uint8Array(length);
  let at = 0;
  // Given up one by one: not all is held twice.
  for (let part = parts.shift(); part; part = parts.shift()) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
