/** Parameters of a request, as far as the task leaves them to who asks. */
import type { Task } from "./api.ts";
import { byId, make } from "./dom.ts";

interface NumberOption {
  name: string;
  min: number;
  max?: number;
  step?: number;
}

const NUMBERS: readonly NumberOption[] = [
  { name: "max_tokens", min: 1 },
  { name: "min_new_tokens", min: 0 },
  { name: "num_beams", min: 1, max: 8 },
  { name: "n", min: 1, max: 8 },
  { name: "temperature", min: 0, max: 2, step: 0.1 },
  { name: "top_p", min: 0.05, max: 1, step: 0.05 },
  { name: "top_k", min: 0 },
  { name: "seed", min: Number.MIN_SAFE_INTEGER },
  { name: "length_penalty", min: -10, max: 10, step: 0.1 },
  { name: "repetition_penalty", min: 0.1, step: 0.1 },
  { name: "no_repeat_ngram_size", min: 0 },
  { name: "prompt_lookup_num_tokens", min: 0, max: 64 },
];

/** How long a summary by sections is to be: every request may say so. */
const WORDS: NumberOption = { name: "words", min: 5, max: 5000 };

export class OptionsForm {
  readonly #details = byId("options", HTMLDetailsElement);
  readonly #place = byId("option-fields", HTMLDivElement);
  #fields: HTMLInputElement[] = [];

  constructor() {
    // What is wrong in them must be seen to be mended.
    this.#place.addEventListener("invalid", () => this.#details.setAttribute("open", ""), true);
  }

  show({ definition: { overridable, long } }: Task): void {
    const allowed = NUMBERS.filter(({ name }) => overridable.includes(name));
    const numbers = [...(long === "sections" ? [WORDS] : []), ...allowed].map(numberField);
    const stop = overridable.includes("stop") ? [make("input", { name: "stop", type: "text" })] : [];
    this.#fields = [...numbers, ...stop];
    this.#place.replaceChildren(
      ...this.#fields.map((field) => {
        field.autocomplete = "off";
        field.placeholder = "the task’s";
        return make("label", {}, make("code", {}, field.name), field);
      }),
    );
    this.#details.hidden = this.#fields.length === 0;
  }

  /** Those that are filled in. */
  get values(): Record<string, string | number> {
    const filled = this.#fields.filter(({ value }) => value !== "");
    return Object.fromEntries(
      filled.map(({ name, type, value, valueAsNumber }) => [name, type === "number" ? valueAsNumber : value]),
    );
  }
}

function numberField({ name, min, max, step = 1 }: NumberOption): HTMLInputElement {
  const field = make("input", { name, type: "number", min: String(min), step: String(step) });
  if (max !== undefined) field.max = String(max);
  return field;
}
