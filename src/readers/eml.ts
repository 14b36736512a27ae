/**
 * A mail: its subject as title, who wrote to whom and when as one paragraph, then its text. Its date stands as the mail has it,
 * with its offset. Attachments are named, not read.
 */
import PostalMime, { type Address, type Email } from "postal-mime";
import { EdgeT5Error } from "../errors.ts";
import type { Document, Table } from "../t5/text-to-text/content.ts";
import { BlockList } from "./blocks.ts";
import { writeBlocks } from "./html-blocks.ts";
import { pageEvents } from "./html-events.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";
import { writeText } from "./text.ts";

/** Each message in a message is held once more while it is read. */
const MESSAGES_DEEP = 2;
const MOST_HEADER_BYTES = 1_000_000;
/** A text of fewer characters than so many of the page beside it only points to it. */
const PAGE_TO_TEXT = 4;

/**
 * @throws EdgeT5Error `E_DAMAGED` for what is no mail; `E_TOO_LARGE` over a limit
 */
export async function readEml(
  bytes: Uint8Array,
  limits: ReadLimits,
): Promise<{ document: Document; notes: readonly string[] }> {
  const mail = await parsed(bytes, limits);
  const blocks = new BlockList(limits);
  const date = mail.headers.find(({ key }) => key === "date")?.value;
  const lines = [
    line("From", mail.from ? [mail.from] : []),
    line("To", mail.to ?? []),
    line("Cc", mail.cc ?? []),
    date ? `Date: ${date.replace(/\s+/g, " ")}` : "",
  ];
  blocks.verbatim(lines.join("\n"));
  const page = mail.html ? new BlockList(limits) : null;
  if (page) writeBlocks(pageEvents(mail.html ?? "", limits), page, limits);
  const text = mail.text?.trim() ?? "";
  if (page && text.length * PAGE_TO_TEXT < page.characters) blocks.append(page);
  else if (text !== "") writeText(text, blocks);
  else if (page) blocks.append(page);
  return { document: blocks.document(mail.subject ?? null), notes: notesOf(mail) };
}

/** The tables of the mail's page. */
export async function readEmlTables(bytes: Uint8Array, limits: ReadLimits): Promise<readonly Table[]> {
  const mail = await parsed(bytes, limits);
  const blocks = new BlockList(limits);
  writeBlocks(pageEvents(mail.html ?? "", limits), blocks, limits);
  return blocks.document(mail.subject ?? null).blocks.flatMap((block) => (block.kind === "table" ? [block.table] : []));
}

async function parsed(bytes: Uint8Array, limits: ReadLimits): Promise<Email> {
  checkParts(bytes, limits);
  let mail: Email;
  try {
    mail = await PostalMime.parse(bytes, {
      maxNestingDepth: Math.min(limits.maxDepth, 64),
      maxRfc822NestingDepth: MESSAGES_DEEP,
      maxHeadersSize: MOST_HEADER_BYTES,
    });
  } catch (error) {
    throw new EdgeT5Error(
      "E_DAMAGED",
      "The mail cannot be read: its parts nest too deep, or its headers are too long.",
      {
        cause: error,
      },
    );
  }
  if (!mail.from && !mail.to && mail.subject === undefined && !mail.messageId && !mail.date) {
    throw new EdgeT5Error(
      "E_DAMAGED",
      "The file has none of a mail's headers (From, To, Subject, Date). Send the mail's source.",
    );
  }
  return mail;
}

/** Parts begin with a line of their own, which a header has announced. */
function checkParts(bytes: Uint8Array, limits: ReadLimits): void {
  const source = new TextDecoder("latin1").decode(bytes);
  const boundaries = new Set<string>();
  for (const [, quotedOne, bare] of source.matchAll(/boundary\s*=\s*(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))/gi)) {
    boundaries.add(quotedOne ?? bare ?? "");
  }
  if (boundaries.size === 0) return;
  let parts = 0;
  for (const [, name = ""] of source.matchAll(/^--([^\r\n]{1,204})/gm)) {
    if (boundaries.has(name.trimEnd()) && ++parts > limits.maxEntries) {
      throw tooLarge("The mail has more parts", "maxEntries", limits);
    }
  }
}

function line(name: string, addresses: readonly Address[]): string {
  const all = addresses.flatMap((address) => address.group ?? [address]);
  const texts = all.map(({ name, address }) => (name && address ? `${name} <${address}>` : name || address || ""));
  return texts.length > 0 ? `${name}: ${texts.join(", ")}` : "";
}

function notesOf({ attachments, text = "", html = "" }: Email): string[] {
  const notes: string[] = [];
  if (attachments.length > 0) {
    const names = attachments.map(({ filename, mimeType }) => filename ?? mimeType);
    const more = names.length > MOST_NAMED ? `, and ${names.length - MOST_NAMED} more` : "";
    notes.push(`Attachments were not read: ${names.slice(0, MOST_NAMED).join(", ")}${more}. Send them as files.`);
  }
  if ((text + html).includes("\ufffd"))
    notes.push("Some of the mail's characters could not be decoded; they show as \ufffd.");
  return notes;
}

const MOST_NAMED = 20;
