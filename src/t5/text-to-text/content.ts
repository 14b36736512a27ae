/** What people have, before it is one text: what readers of files make (src/readers), and what a model's text is made of. */

/** Rows under their columns' names; every row is as long as `columns`. */
export interface Table {
  /** Of the page that it stands on: a document's title, a workbook's file. */
  title: string | null;
  /** Of the section that it stands in: a heading, a sheet's name. */
  section: string | null;
  columns: readonly string[];
  /** The names as the file shows them, where some of {@link columns} were made up to have each name once. */
  headers?: readonly string[];
  rows: readonly (readonly string[])[];
}

/** A piece of a document, in reading order. Texts have no line breaks but those that are meant: lines of verse, of code. */
export type Block =
  | { kind: "heading" /** 1 is the highest. */; level: number; text: string }
  | {
      kind: "paragraph";
      text: string /** Code, names, addresses, dates: the same in every language. */;
      isVerbatim?: boolean;
    }
  | {
      kind: "item";
      /** 0 for an item of a list that stands in no other. */
      depth: number;
      text: string;
      /** Its number, as it stands before the text: `1.`, `a)`, `2.1`. An item without one has a bullet. */
      marker?: string;
      isVerbatim?: boolean;
    }
  | { kind: "table"; table: Table };

export interface Document {
  title: string | null;
  blocks: readonly Block[];
}

/** A piece of a text that is to be translated. */
export interface TextPart {
  readonly text: string;
  /** `cell`: of a table in Markdown, where it is written with its `|` escaped; `fixed`: stays as it is. */
  readonly kind: "prose" | "cell" | "fixed";
}

/** What a reader made of a file. */
export type Content =
  | {
      kind: "document";
      document: Document /** What was left out or guessed, for people: one sentence each. */;
      notes: readonly string[];
    }
  | { kind: "tables"; tables: readonly Table[]; notes: readonly string[] };
