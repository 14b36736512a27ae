/**
 * XML of an archive's part, as it is inflated: never a tree, never whole in memory. A DOCTYPE is refused (Office's formats
 * forbid it), so no entity is known but XML's five and numbers. Names are given without their prefixes: the parts of
 * Office that are read tell elements apart by their local names, under either of its two sets of namespaces.
 */
import { SaxesParser } from "saxes";
import { EdgeT5Error } from "../errors.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";
import type { ZipArchive } from "./zip.ts";

export type Attributes = Readonly<Record<string, string>>;

export interface XmlHandler {
  open?(name: string, attributes: Attributes): void;
  close?(name: string): void;
  text?(text: string): void;
}

/** @throws EdgeT5Error `E_DAMAGED` for what is no XML; `E_TOO_LARGE`; as {@link ZipArchive.stream} */
export function readXml(zip: ZipArchive, part: string, limits: ReadLimits, handler: XmlHandler): void {
  const refuse = (why: string, cause?: unknown) =>
    new EdgeT5Error("E_DAMAGED", `${JSON.stringify(part)} ${why}. Save the file anew.`, { cause });
  const parser = new SaxesParser({ xmlns: false, position: false });
  let depth = 0;
  // Of a tag or text that has not ended yet: the parser keeps it.
  let kept = 0;
  parser.on("error", (error) => {
    throw refuse(`is not well-formed XML (${error.message})`, error);
  });
  parser.on("doctype", () => {
    throw refuse("has a DOCTYPE, which Office files have not");
  });
  parser.on("opentag", ({ name, attributes }) => {
    kept = 0;
    if (++depth > limits.maxDepth) throw tooLarge(`${JSON.stringify(part)} is nested too deep`, "maxDepth", limits);
    handler.open?.(local(name), attributes);
  });
  parser.on("closetag", ({ name }) => {
    kept = 0;
    depth--;
    handler.close?.(local(name));
  });
  if (handler.text) {
    const text = handler.text.bind(handler);
    parser.on("text", text);
    parser.on("cdata", text);
  }
  let decoder: TextDecoder | undefined;
  const decode = (piece?: Uint8Array) => {
    decoder ??= new TextDecoder(encodingOf(piece), { fatal: true, ignoreBOM: false });
    try {
      return decoder.decode(piece, { stream: piece !== undefined });
    } catch (cause) {
      throw refuse("is neither UTF-8 nor UTF-16", cause);
    }
  };
  zip.stream(part, (piece) => {
    const text = decode(piece);
    parser.write(text);
    kept += text.length;
    if (kept > limits.maxCharacters) {
      throw tooLarge(`${JSON.stringify(part)} has too much text in one piece`, "maxCharacters", limits);
    }
  });
  parser.write(decode());
  parser.close();
}

/** By its local name. */
export function attribute(attributes: Attributes, name: string): string | undefined {
  const own = attributes[name];
  if (own !== undefined) return own;
  for (const key in attributes)
    if (key.endsWith(name) && key[key.length - name.length - 1] === ":") return attributes[key];
  return undefined;
}

/** Of a property that is on by being there, unless its value says otherwise (ECMA-376, part 1, 17.17.4). */
export function isOn(value: string | undefined): boolean {
  return value === undefined || !/^(0|false|off)$/.test(value);
}

function local(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}

function encodingOf(piece: Uint8Array | undefined): string {
  const [first, second] = piece ?? [];
  if ((first === 0xff && second === 0xfe) || (first === 0x3c && second === 0)) return "utf-16le";
  return (first === 0xfe && second === 0xff) || (first === 0 && second === 0x3c) ? "utf-16be" : "utf-8";
}
