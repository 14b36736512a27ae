/** Money on the wire: dollars as decimal text, exact to a billionth; inside it is a whole number of nano-dollars. */
import * as z from "zod";

const NANO = 1_000_000_000n;

/** `"12.5"` → 12_500_000_000 */
export const dollarsSchema = z
  .string()
  .regex(/^\d{1,6}(\.\d{1,9})?$/, 'a text of dollars, such as "12.50", below a million, with up to 9 decimals')
  .transform(nanoOf);

function nanoOf(dollars: string): number {
  const [whole = "0", part = ""] = dollars.split(".");
  return Number(BigInt(whole) * NANO + BigInt(part.padEnd(9, "0")));
}

/** 12_500_000_000 → `"12.5"` @param nano a whole number of nano-dollars, not negative */
export function dollarsOf(nano: number): string {
  const amount = BigInt(nano);
  const part = (amount % NANO).toString().padStart(9, "0").replace(/0+$/, "");
  return `${amount / NANO}${part && `.${part}`}`;
}
