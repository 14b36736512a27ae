/** What is wrong with rows, collected, and told as one error. */
import { EdgeT5Error } from "../../errors.ts";
import type { Problem } from "./rows.ts";

/** How many are told in full. */
const TOLD = 5;

export class Problems {
  readonly #first: Problem[] = [];
  #count = 0;

  add(problem: Problem): void {
    this.#count++;
    if (this.#first.length < TOLD) this.#first.push(problem);
  }

  /** @param hint how to fix them @throws EdgeT5Error with the code of the first one, if there is any */
  throwIfAny(hint: string): void {
    const [first] = this.#first;
    if (!first) return;
    const told = this.#first.map(({ where, reason }) => `${where}: ${reason}`).join("; ");
    const more = this.#count > TOLD ? `; and ${this.#count - TOLD} more` : "";
    throw new EdgeT5Error(first.code, `${told}${more}. ${hint}`);
  }
}
