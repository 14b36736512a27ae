/**
 * Templates make one text of named fields: `question: {question} context: {context}`. A brace that is meant as such is
 * doubled.
 */
import { EdgeT5Error } from "../errors.ts";

export interface Template {
  /** Text before each field, and after the last one: one more than there are places. */
  texts: string[];
  /** The field of each place. */
  places: string[];
  /** Each field once, in the order of its first place. */
  fields: string[];
}

const FIELD = /^[A-Za-z_][A-Za-z0-9_]{0,31}$/;

/** @throws EdgeT5Error `E_INPUT` for a brace without its other, a name that is none, and no field at all */
export function parseTemplate(template: string): Template {
  const texts = [""];
  const places: string[] = [];
  const add = (text: string) => {
    texts[texts.length - 1] += text;
  };
  for (const [piece] of template.matchAll(/\{\{|\}\}|\{[^{}]*\}|[^{}]+|[{}]/g)) {
    if (piece === "{{" || piece === "}}") add(piece.charAt(0));
    else if (piece === "{" || piece === "}") {
      throw new EdgeT5Error(
        "E_INPUT",
        `A ${piece} stands alone. Write {name} for a field, ${piece}${piece} for a brace.`,
      );
    } else if (piece.startsWith("{")) {
      const name = piece.slice(1, -1);
      if (!FIELD.test(name)) {
        throw new EdgeT5Error(
          "E_INPUT",
          `${piece} names no field. A name is a letter or _, then up to 31 letters, digits and _; braces are doubled: {{…}}.`,
        );
      }
      places.push(name);
      texts.push("");
    } else add(piece);
  }
  if (places.length === 0) {
    throw new EdgeT5Error("E_INPUT", "The template has no field. Write {input} where the input goes.");
  }
  return { texts, places, fields: [...new Set(places)] };
}

/** @param values of every field @throws EdgeT5Error `E_INPUT` for a field without a value */
export function fillTemplate({ texts, places }: Template, values: Readonly<Record<string, string>>): string {
  return places.reduce((filled, field, i) => {
    const value = Object.hasOwn(values, field) ? values[field] : undefined;
    if (value === undefined) throw new EdgeT5Error("E_INPUT", `The field ${field} has no value. Give it.`);
    return filled + value + texts[i + 1];
  }, texts[0] ?? "");
}
