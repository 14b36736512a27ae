/** Files of test/fixtures/readers, and what tests ask of what is made of them. */
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { EdgeT5Error, type ErrorCode } from "../../src/errors.ts";
import { DEFAULT_LIMITS, type ReadLimits, type ReadRequest, readContent } from "../../src/readers/index.ts";
import type { Document, Table } from "../../src/t5/text-to-text/content.ts";

export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../fixtures/readers/${name}`, import.meta.url)));
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

type Request = Partial<ReadRequest>;

export async function documentOf(bytes: Uint8Array, request: Request = {}, limits?: Partial<ReadLimits>) {
  const content = await readContent(bytes, { as: "document", ...request }, { ...DEFAULT_LIMITS, ...limits });
  if (content.kind !== "document") throw new Error("No document.");
  return content;
}

export async function tablesOf(bytes: Uint8Array, request: Request = {}): Promise<readonly Table[]> {
  const content = await readContent(bytes, { as: "table", ...request });
  if (content.kind !== "tables") throw new Error("No tables.");
  return content.tables;
}

/** One line a block: its kind, a heading's level or an item's depth and number, its text. */
export function outline({ blocks }: Document): string[] {
  return blocks.map((block) => {
    if (block.kind === "table") return `table ${block.table.columns.join(" | ")}`;
    if (block.kind === "heading") return `h${block.level} ${block.text}`;
    if (block.kind === "item") return `item${block.depth} ${block.marker ? `${block.marker} ` : ""}${block.text}`;
    return block.text;
  });
}

/** Rejected, with this code and a message that matches. */
export async function expectRefused(reading: Promise<unknown>, code: ErrorCode, message: RegExp = /./): Promise<void> {
  const error = await reading.then(
    () => null,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(EdgeT5Error);
  expect((error as EdgeT5Error).code).toBe(code);
  expect((error as EdgeT5Error).message).toMatch(message);
}
