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
export function dollarsOf(nano: number | bigint): string {
  const amount = BigInt(nano);
  const part = (amount % NANO).toString().padStart(9, "0").replace(/0+$/, "");
  return `${amount / NANO}${part && `.${part}`}`;
}

/** Micro-dollars, the unit of prices per 1,000 tokens: 1_500 → `"0.0015"` */
export function microDollarsOf(micro: number): string {
  return dollarsOf(BigInt(micro) * 1000n);
}

/**
 * A price, exactly: what has more digits is refused, not rounded.
 *
 * @param what for messages: `a request`
 * @param digits most digits after the point: 9 for a whole number of nano-dollars, 6 for micro-dollars
 * @param most whole dollars, at most
 */
export function priceSchema(what: string, digits: number, most: number) {
  const expected = `a text of dollars ${what} such as "0.0015", from 0 to ${most}, with at most ${digits} digits after the point`;
  return z.string({ error: expected }).transform((text, context) => {
    const [, whole = "", fraction = ""] = /^(\d{1,9})(?:\.(\d+))?$/.exec(text) ?? [];
    const units = BigInt(whole + fraction.padEnd(digits, "0") || "0");
    if (whole && fraction.length <= digits && units <= BigInt(most) * 10n ** BigInt(digits)) return Number(units);
    context.addIssue({ code: "custom", message: expected, input: text });
    return z.NEVER;
  });
}
