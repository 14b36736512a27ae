/** What a task is given: a text for each of its fields, or a file in a text's place. */
import type { TaskInput } from "../../src/tenancy/task-request.ts";
import type { Task } from "./api.ts";
import { byId, make } from "./dom.ts";

/** Of a text file; larger ones are sent as they are, and the API says what it takes. */
const MOST_READ_BYTES = 1_000_000;

const LABELS: Readonly<Record<string, string>> = {
  text: "Text",
  table: "Table",
  document: "Document",
  image: "Image",
};

interface Field {
  name: string;
  area: HTMLTextAreaElement;
  box: HTMLElement;
  /** Of this field, for people. */
  note: HTMLElement;
}

export class InputForm {
  readonly #place = byId("inputs", HTMLDivElement);
  readonly #onChange: () => void;
  #task: Task | null = null;
  #fields: Field[] = [];
  #file: File | null = null;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
    // A file that is dropped beside a field would leave the page.
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      const [first] = this.#fields;
      const file = event.dataTransfer?.files[0];
      if (!file || !first) return;
      const field = this.#fields.find(({ box }) => event.target instanceof Node && box.contains(event.target));
      void this.#take(field ?? first, file);
    });
  }

  get file(): File | null {
    return this.#file;
  }

  /** Null where a file is given instead. */
  get value(): TaskInput | null {
    if (this.#file) return null;
    const [only] = this.#fields;
    if (this.#fields.length === 1 && only) return only.area.value;
    return Object.fromEntries(this.#fields.map(({ name, area }) => [name, area.value]));
  }

  /** Fields for another task; a single text goes along. */
  show(task: Task, example: string | null): void {
    const kept = this.#fields.length === 1 ? (this.#fields[0]?.area.value ?? "") : "";
    this.#task = task;
    this.#file = null;
    this.#fields = task.fields.map((name) => this.#make(task, name, task.fields.length === 1 ? example : null));
    const [first] = this.#fields;
    if (this.#fields.length === 1 && first) first.area.value = kept;
    this.#place.replaceChildren(...this.#fields.map(({ box }) => box));
  }

  fill(text: string): void {
    const [first] = this.#fields;
    if (first) this.#write(first, text);
  }

  #make(task: Task, name: string, example: string | null): Field {
    const isOnly = task.fields.length === 1;
    const id = `input-${name}`;
    const label = make("label", { htmlFor: id }, isOnly ? (LABELS[task.definition.input] ?? name) : name);
    const area = make("textarea", { id, rows: isOnly ? 7 : 3, required: true });
    area.setAttribute("aria-describedby", `${id}-note`);
    const picker = make("input", { type: "file", className: "unseen" });
    const pick = make("label", { className: "button small" }, "Choose a file", picker);
    const note = make("span", { id: `${id}-note`, className: "note" }, "or drop one here");
    note.setAttribute("role", "status");
    const below = make("div", { className: "row" }, pick, note);
    const box = make("div", { className: "field" }, label, area, below);
    const field: Field = { name, area, box, note };
    if (example !== null) {
      const button = make("button", { type: "button", className: "button small" }, "Try an example");
      button.addEventListener("click", () => this.#write(field, example));
      below.append(button);
    }
    picker.addEventListener("change", () => {
      const file = picker.files?.[0];
      picker.value = "";
      if (file) void this.#take(field, file);
    });
    area.addEventListener("paste", (event) => {
      const file = event.clipboardData?.files[0];
      if (!file) return;
      event.preventDefault();
      void this.#take(field, file);
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

  /** A plain text is read here, so that one may go on writing; any other file is sent as it is. */
  async #take(field: Field, file: File): Promise<void> {
    const text = isPlainText(file) ? await readText(file) : null;
    if (!this.#fields.includes(field)) return;
    if (text !== null) {
      this.#write(field, text);
      field.note.textContent = `${file.name} was read as text`;
      return;
    }
    if (this.#task?.fields.length !== 1) {
      field.note.textContent = `${file.name} is no plain text; of several fields each takes one`;
      return;
    }
    this.#file = file;
    const remove = make("button", { type: "button", className: "button small" }, "Remove");
    remove.addEventListener("click", () => {
      this.#write(field, "");
      field.area.focus();
    });
    const told = `${sizeOf(file)}${file.type && `, ${file.type}`}`;
    const card = make("div", { className: "file" }, make("strong", {}, file.name), make("span", {}, told), remove);
    field.box.querySelector(".file")?.remove();
    field.area.hidden = true;
    field.area.required = false;
    field.area.after(card);
    field.note.textContent = "is sent as a file";
    this.#onChange();
  }

  #write(field: Field, text: string): void {
    this.#file = null;
    field.box.querySelector(".file")?.remove();
    field.area.hidden = false;
    field.area.required = true;
    field.area.value = text;
    field.note.textContent = "or drop one here";
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

function sizeOf({ size }: File): string {
  const [value, unit] = size < 1e3 ? [size, "byte"] : size < 1e6 ? [size / 1e3, "kilobyte"] : [size / 1e6, "megabyte"];
  return new Intl.NumberFormat("en", { style: "unit", unit, maximumFractionDigits: 1 }).format(value);
}
