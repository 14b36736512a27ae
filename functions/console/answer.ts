/** The answer as it comes, and what it took. */
import { CallError, type RunEvent, type Score, type Usage } from "./api.ts";
import { byId, make } from "./dom.ts";

/** Of a scrolled answer: so near to its end it is followed. */
const NEAR_PX = 32;

export class AnswerView {
  readonly #box = byId("answer", HTMLDivElement);
  readonly #live = byId("answer-text", HTMLDivElement);
  readonly #scores = byId("answer-scores", HTMLDivElement);
  readonly #status = byId("status", HTMLParagraphElement);
  readonly #progress = byId("progress", HTMLProgressElement);
  readonly #copy = byId("answer-copy", HTMLButtonElement);
  readonly #explain = byId("explained", HTMLDetailsElement);
  readonly #inputs = byId("explained-inputs", HTMLOListElement);
  readonly #total = byId("explained-total", HTMLParagraphElement);
  readonly #notes = byId("answer-notes", HTMLUListElement);
  #texts: Text[] = [];
  #began = 0;
  #firstAt: number | null = null;
  #usage: Usage | null = null;
  #isCut = false;
  #noted: string[] = [];

  begin(): void {
    this.#began = performance.now();
    this.#firstAt = null;
    this.#usage = null;
    this.#isCut = false;
    this.#texts = [];
    this.#live.replaceChildren();
    this.#scores.replaceChildren();
    this.#copy.disabled = true;
    this.#explain.hidden = true;
    this.#noted = [];
    this.#notes.replaceChildren();
    for (const value of document.querySelectorAll<HTMLElement>("[id^=figure-] dd")) value.textContent = "–";
    byId("figure-cost", HTMLDivElement).hidden = true;
    this.#setBusy(true);
    this.#status.textContent = "Asked…";
  }

  show(event: RunEvent): void {
    if (event.kind === "begun") {
      figure("served", event.servedBy);
      figure("model", event.modelVersion);
      figure("request", event.requestId);
    } else if (event.kind === "text") {
      this.#first("Answering…");
      this.#append(event.index, event.text);
      this.#isCut ||= event.isCut;
    } else if (event.kind === "label") {
      this.#first("Answering…");
      this.#append(0, event.label);
      this.#scores.replaceChildren(scoresTable(event.scores));
    } else if (event.kind === "explained") {
      const { inputs, total } = event;
      this.#inputs.replaceChildren(...inputs.map((text) => make("li", {}, text)));
      this.#total.textContent = total > inputs.length ? `The first ${inputs.length} of ${total}.` : "";
      this.#explain.hidden = false;
    } else if (event.kind === "progress") {
      this.#progress.hidden = this.#firstAt !== null;
      this.#progress.max = event.of;
      this.#progress.value = event.done;
      if (this.#firstAt === null) this.#status.textContent = `Read ${event.done} of ${event.of} parts…`;
    } else if (event.kind === "noted") {
      this.#noted.push(...event.notes);
    } else {
      this.#usage = event.usage;
      const { input_tokens, output_tokens, cost } = event.usage;
      figure("input", String(input_tokens));
      figure("output", String(output_tokens));
      byId("figure-cost", HTMLDivElement).hidden = cost === undefined;
      if (cost !== undefined) figure("cost", `$${cost}`);
    }
  }

  end(): void {
    const whole = performance.now() - this.#began;
    figure("whole", secondsOf(whole));
    const { output_tokens = 0 } = this.#usage ?? {};
    if (output_tokens > 0) figure("rate", (output_tokens / (whole / 1000)).toFixed(whole > 10_000 ? 1 : 0));
    this.#setBusy(false);
    this.#status.textContent = `Done in ${secondsOf(whole)}${this.#isCut ? ", cut at the most tokens" : ""}.`;
  }

  stopped(): void {
    this.#setBusy(false);
    this.#status.textContent = "Stopped.";
  }

  failed(error: unknown): void {
    const { message, code, requestId } =
      error instanceof CallError ? error : { message: String(error), code: "page", requestId: null };
    if (requestId !== null) figure("request", requestId);
    this.#setBusy(false);
    this.#status.textContent = "Failed.";
    const where = requestId === null ? [] : [", request ", make("code", {}, requestId)];
    this.#live.append(
      make("div", { className: "error" }, make("p", {}, message), make("p", {}, make("code", {}, code), ...where)),
    );
  }

  #first(status: string): void {
    if (this.#firstAt !== null) return;
    this.#firstAt = performance.now() - this.#began;
    figure("first", secondsOf(this.#firstAt));
    this.#status.textContent = status;
    this.#progress.hidden = true;
    this.#copy.disabled = false;
  }

  #append(index: number, piece: string): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#box;
    while (this.#texts.length <= index) {
      const text = document.createTextNode("");
      this.#texts.push(text);
      this.#live.append(make("p", { className: "text" }, text));
    }
    this.#texts[index]?.appendData(piece);
    if (scrollHeight - scrollTop - clientHeight < NEAR_PX) this.#box.scrollTop = this.#box.scrollHeight;
  }

  /** A busy region is read aloud when it is done, not piece by piece. */
  #setBusy(isBusy: boolean): void {
    this.#live.setAttribute("aria-busy", String(isBusy));
    this.#progress.hidden = true;
    // Below a text that grows they would move.
    if (!isBusy) this.#notes.append(...this.#noted.map((note) => make("li", {}, note)));
  }
}

function scoresTable(scores: readonly Score[]): HTMLTableElement {
  const rows = scores.map(({ label, score }) => {
    const percent = `${(100 * score).toFixed(1)} %`;
    const meter = make("meter", { max: 1, value: score }, percent);
    meter.setAttribute("aria-label", label);
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, label),
      make("td", {}, meter),
      make("td", { className: "number" }, percent),
    );
  });
  return make("table", {}, make("caption", { className: "unseen" }, "Every label’s score"), make("tbody", {}, ...rows));
}

function figure(name: string, value: string | null): void {
  const place = document.querySelector(`#figure-${name} dd`);
  if (place) place.textContent = value ?? "–";
}

function secondsOf(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}
