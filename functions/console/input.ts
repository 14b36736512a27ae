/** What a task is given: a text for each of its fields, and a file where it takes one. */
import type { Task } from "./api.ts";
import type { Attached, Input } from "./call.ts";
import { byId, make } from "./dom.ts";

/** Of a text file that is read here; larger ones are sent as they are, and the API says what it takes. */
const MOST_READ_BYTES = 1_000_000;

const LABELS: Readonly<Record<string, string>> = {
  text: "Text",
  table: "Table",
  document: "Document",
  image: "Image",
};

const HINTS: Readonly<Record<string, string>> = {
  text: "or drop a text file here",
  table: "or drop one here: CSV, XLSX, JSON, HTML …",
  document: "or drop one here: PDF, DOCX, HTML, EML …",
  image: "or drop or paste an image here",
};

interface Field {
  name: string;
  /** `text`, or what is read first. */
  kind: string;
  area: HTMLTextAreaElement;
  box: HTMLElement;
  /** Of this field, for people. */
  note: HTMLElement;
}

export class InputForm {
  readonly #place = byId("inputs", HTMLDivElement);
  readonly #onChange: () => void;
  #fields: Field[] = [];
  #file: File | null = null;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
    // A file that is dropped beside a field would leave the page.
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      this.#takeAt(event.target, event.dataTransfer?.files[0]);
    });
    addEventListener("paste", (event) => {
      const file = event.clipboardData?.files[0];
      if (file) event.preventDefault();
      this.#takeAt(event.target, file);
    });
  }

  /** A file in a field's place; a table that was written is one, too. */
  get file(): Attached | null {
    if (this.#file) return { name: this.#file.name, type: this.#file.type, content: this.#file, text: null };
    const written = this.#fields.find(({ kind }) => kind === "table")?.area.value ?? "";
    if (written.trim() === "") return null;
    const text = written.endsWith("\n") ? written : `${written}\n`;
    const [extension, type] = formatOf(text);
    return { name: `table.${extension}`, type, content: new Blob([text], { type }), text };
  }

  /** Null where a file is all there is. */
  get value(): Input | null {
    const isFile = this.file !== null;
    const texts = this.#fields.filter(({ kind }) => kind === "text" || (kind === "document" && !isFile));
    const [only] = this.#fields;
    if (this.#fields.length === 1 && only) return texts.length === 1 ? only.area.value : null;
    return Object.fromEntries(texts.map(({ name, area }) => [name, area.value]));
  }

  /** Fields for another task; a single text goes along. */
  show({ fields, definition: { input } }: Task, example: string | null): void {
    const kept = this.#fields.length === 1 ? (this.#fields[0]?.area.value ?? "") : "";
    this.#file = null;
    const isOnly = fields.length === 1;
    this.#fields = fields.map((name) => {
      const kind = input in LABELS && (isOnly || name === input) ? input : "text";
      return this.#make(name, kind, isOnly ? (LABELS[kind] ?? name) : name, isOnly ? example : null);
    });
    const [first] = this.#fields;
    if (isOnly && first && first.kind !== "image") first.area.value = kept;
    this.#place.replaceChildren(...this.#fields.map(({ box }) => box));
  }

  fill(text: string): void {
    const [first] = this.#fields;
    if (first) this.#write(first, text);
  }

  #make(name: string, kind: string, labelled: string, example: string | null): Field {
    const id = `input-${name}`;
    const isText = kind !== "image";
    const label = make("label", { htmlFor: isText ? id : `${id}-file` }, labelled);
    const rows = labelled === name ? 3 : 9;
    const area = make("textarea", { id, rows, required: isText, hidden: !isText });
    area.setAttribute("aria-describedby", `${id}-note`);
    const picker = make("input", { id: `${id}-file`, type: "file", className: "unseen" });
    const pick = make("label", { className: "button small" }, "Choose a file", picker);
    const note = make("span", { id: `${id}-note`, className: "note" }, HINTS[kind] ?? "");
    note.setAttribute("role", "status");
    const below = make("div", { className: "row" }, pick, note);
    const box = make("div", { className: "field" }, label, area, below);
    const field: Field = { name, kind, area, box, note };
    if (!isText) area.after(make("div", { className: "file" }, "No image yet"));
    if (example !== null) {
      const button = make("button", { type: "button", className: "button small" }, "Try an example");
      button.addEventListener("click", () => this.#write(field, example));
      below.append(button);
    }
    picker.addEventListener("change", () => {
      this.#takeAt(box, picker.files?.[0]);
      picker.value = "";
    });
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) area.form?.requestSubmit();
    });
    for (const [type, isOver] of [
      ["dragenter", true],
      ["dragover", true],
      ["dragleave", false],
      ["drop", false],
    ] as const) {
      box.addEventListener(type, () => box.classList.toggle("over", isOver));
    }
    return field;
  }

  /** The field at a place; elsewhere the one that takes files, or the first. */
  #takeAt(target: EventTarget | null, file: File | undefined): void {
    const at = this.#fields.find(({ box }) => target instanceof Node && box.contains(target));
    const field = at ?? this.#fields.find(({ kind }) => kind !== "text") ?? this.#fields[0];
    if (file && field) void this.#take(field, file);
  }

  /** A plain text is read here, so that one may go on writing; any other file is sent as it is. */
  async #take(field: Field, file: File): Promise<void> {
    const mayRead = field.kind === "text" || field.kind === "document";
    const text = mayRead && isPlainText(file) ? await readText(file) : null;
    if (!this.#fields.includes(field)) return;
    if (text !== null) {
      this.#write(field, text);
      field.note.textContent = `${file.name} was read as text`;
    } else if (field.kind === "text") {
      field.note.textContent = `${file.name} is no plain text in UTF-8, which is all that this field takes`;
    } else this.#attach(field, file);
  }

  #attach(field: Field, file: File): void {
    this.#file = file;
    const remove = make("button", { type: "button", className: "button small" }, "Remove");
    remove.addEventListener("click", () => {
      this.#write(field, "");
      field.box.querySelector("input")?.focus();
    });
    const told = `${sizeOf(file)}${file.type && `, ${file.type}`}`;
    const card = make("div", { className: "file" }, make("strong", {}, file.name), make("span", {}, told), remove);
    field.box.querySelector(".file")?.remove();
    field.area.hidden = true;
    field.area.required = false;
    field.area.after(card);
    field.note.textContent = `${file.name} is sent as it is`;
    this.#onChange();
  }

  #write(field: Field, text: string): void {
    const isText = field.kind !== "image";
    if (field.kind !== "text") this.#file = null;
    field.box.querySelector(".file")?.remove();
    if (!isText) field.area.after(make("div", { className: "file" }, "No image yet"));
    field.area.hidden = !isText;
    field.area.required = isText;
    field.area.value = isText ? text : "";
    field.note.textContent = HINTS[field.kind] ?? "";
    this.#onChange();
  }
}

function isPlainText({ name, type, size }: File): boolean {
  return size <= MOST_READ_BYTES && (type === "text/plain" || (type === "" && /\.te?xt$/i.test(name)));
}

/** Null for another encoding than UTF-8: the API knows more of them. */
async function readText(file: File): Promise<string | null> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    return null;
  }
}

/** What a table is written in, by how it begins. */
function formatOf(text: string): [extension: string, type: string] {
  const begin = text.trimStart();
  if (/^[[{]/.test(begin)) return ["json", "application/json"];
  if (begin.startsWith("<")) return ["html", "text/html"];
  if (begin.startsWith("|")) return ["md", "text/markdown"];
  return begin.split("\n", 1)[0]?.includes("\t") ? ["tsv", "text/tab-separated-values"] : ["csv", "text/csv"];
}

function sizeOf({ size }: File): string {
  if (size < 1e3) return `${size} bytes`;
  return size < 1e6 ? `${(size / 1e3).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}
