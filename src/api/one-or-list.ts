/** One thing stands for a list of one. */
import * as z from "zod";

/** Marks such a field for the API's document, which the schema alone would give as a list. */
export const ONE_OR_LIST = "x-one-or-list";

export function oneTextOrList<Schema extends z.ZodType>(list: Schema) {
  return z.preprocess((value) => (typeof value === "string" ? [value] : value), list).meta({ [ONE_OR_LIST]: true });
}
