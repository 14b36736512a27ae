/** The same call in a shell and in TypeScript, one of them shown. */
import { type Call, curlOf, openAiOf, typeScriptOf } from "./call.ts";
import { byId, copy } from "./dom.ts";

const SAMPLES: Readonly<Record<string, (call: Call) => string | null>> = {
  curl: curlOf,
  typescript: typeScriptOf,
  openai: openAiOf,
};

export class Samples {
  readonly #form = byId("samples", HTMLFormElement);
  readonly #code = byId("sample", HTMLElement);
  readonly #openAi = byId("sample-openai", HTMLInputElement);
  #call: Call | null = null;
  #isText = false;

  constructor() {
    const button = byId("sample-copy", HTMLButtonElement);
    button.addEventListener("click", () => void copy(button, this.#code));
    this.#form.addEventListener("change", () => this.#write());
  }

  /** @param isText whether the task answers a text with a text, as completions do */
  show(call: Call, isText: boolean): void {
    this.#call = call;
    this.#isText = isText;
    this.#write();
  }

  #write(): void {
    if (!this.#call) return;
    const openAi = this.#isText ? openAiOf(this.#call) : null;
    this.#openAi.disabled = openAi === null;
    if (openAi === null && this.#openAi.checked) byId("sample-typescript", HTMLInputElement).checked = true;
    const { value } = this.#form.elements.namedItem("sample") as RadioNodeList;
    this.#code.textContent = SAMPLES[value]?.(this.#call) ?? "";
  }
}
