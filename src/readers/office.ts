/** What Office's formats (ECMA-376) share: an archive of parts, found by their relationships. */
import { EdgeT5Error } from "../errors.ts";
import type { ReadLimits } from "./limits.ts";
import { attribute, readXml, type XmlHandler } from "./xml.ts";
import { isZip, ZipArchive } from "./zip.ts";

export interface OfficeFormat {
  /** As people write it: XLSX. */
  name: string;
  /** Its main part's root element. */
  root: string;
  /** The binary format that it replaced: .xls. */
  old: string;
}

export interface OfficePackage {
  zip: ZipArchive;
  /** The part that all others hang on. */
  main: string;
}

export interface Relationship {
  /** The last word of its type's address: `worksheet`, `styles`. */
  type: string;
  /** A part of the package. */
  target: string;
}

/** Compound files: Office's formats before 2007, and encrypted ones of any year. */
const OLE = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

/**
 * @throws EdgeT5Error `E_FORMAT` for another format, an older one or an encrypted file, saying which; as
 * {@link ZipArchive} and {@link readXml}
 */
export function openOffice(bytes: Uint8Array, format: OfficeFormat, limits: ReadLimits): OfficePackage {
  if (OLE.every((byte, i) => bytes[i] === byte)) throw oldFormat(bytes, format);
  if (!isZip(bytes)) throw otherFormat(format, "it is no archive of parts");
  const zip = new ZipArchive(bytes, limits);
  if (zip.has("mimetype") && !zip.has("[Content_Types].xml")) {
    throw otherFormat(format, "it looks like OpenDocument or an e-book");
  }
  const relationships = zip.has("_rels/.rels") ? readRelationships(zip, "", limits) : new Map<string, Relationship>();
  const main = [...relationships.values()].find(({ type }) => type === "officeDocument")?.target;
  if (main === undefined || !zip.has(main)) throw otherFormat(format, "its main part is not there");
  if (main.endsWith(".bin")) throw otherFormat(format, `it is ${format.name}'s binary kin`);
  return { zip, main };
}

/** The package's main part. @throws EdgeT5Error `E_FORMAT` when it is another format's; as {@link readXml} */
export function readMain({ zip, main }: OfficePackage, format: OfficeFormat, limits: ReadLimits, handler: XmlHandler) {
  let root: string | undefined;
  readXml(zip, main, limits, {
    open(name, attributes) {
      root ??= name;
      if (root !== format.root) throw otherFormat(format, `its main part is a ${root}`);
      handler.open?.(name, attributes);
    },
    close: (name) => handler.close?.(name),
    text: (text) => handler.text?.(text),
  });
}

/** Of a part, by id; without those that lead out of the package: nothing is fetched. */
export function readRelationships(zip: ZipArchive, part: string, limits: ReadLimits): Map<string, Relationship> {
  const relationships = new Map<string, Relationship>();
  const folder = part.slice(0, part.lastIndexOf("/") + 1);
  const rels = `${folder}_rels/${part.slice(folder.length)}.rels`;
  if (!zip.has(rels)) return relationships;
  readXml(zip, rels, limits, {
    open(name, attributes) {
      if (name !== "Relationship" || attribute(attributes, "TargetMode") === "External") return;
      const id = attribute(attributes, "Id") ?? "";
      const type = attribute(attributes, "Type") ?? "";
      const target = resolve(folder, attribute(attributes, "Target") ?? "");
      relationships.set(id, { type: type.slice(type.lastIndexOf("/") + 1), target });
    },
  });
  return relationships;
}

/** The part that a relationship of this type leads to, when it is there. */
export function partOf(
  zip: ZipArchive,
  relationships: ReadonlyMap<string, Relationship>,
  type: string,
): string | undefined {
  return [...relationships.values()].find((relationship) => relationship.type === type && zip.has(relationship.target))
    ?.target;
}

/** `_x000D_` stands for what XML 1.0 cannot say (ECMA-376, part 1, 22.9.2.19). */
export function unescaped(text: string): string {
  if (!text.includes("_x")) return text;
  return text.replace(/_x([0-9A-Fa-f]{4})_/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

function resolve(folder: string, target: string): string {
  const steps: string[] = [];
  for (const step of (target.startsWith("/") ? target : folder + target).split("/")) {
    if (step === "..") steps.pop();
    else if (step !== "" && step !== ".") steps.push(step);
  }
  return steps.join("/");
}

function oldFormat(bytes: Uint8Array, { name, old }: OfficeFormat): EdgeT5Error {
  // The entry of its directory, in UTF-16.
  if (includes(bytes, "EncryptedPackage")) {
    return new EdgeT5Error("E_FORMAT", "The file is encrypted. Save it without a password.");
  }
  const message = `The file is of Office before 2007 (${old}), not ${name}. Open it there and save it as ${name}.`;
  return new EdgeT5Error("E_FORMAT", message);
}

function includes(bytes: Uint8Array, word: string): boolean {
  const wanted = [...word].flatMap((letter) => [letter.charCodeAt(0), 0]);
  for (let at = bytes.indexOf(wanted[0]!); at >= 0; at = bytes.indexOf(wanted[0]!, at + 1)) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return true;
  }
  return false;
}

function otherFormat({ name }: OfficeFormat, why: string): EdgeT5Error {
  return new EdgeT5Error("E_FORMAT", `The file is not ${name}: ${why}. Send ${name}, or name the file's own format.`);
}
