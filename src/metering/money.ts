/** Money: whole nano-dollars in code, decimal strings of dollars on the wire; never a float. */

const NANO_DIGITS = 9;

/**
 * Reads dollars exactly.
 *
 * @param digits most digits after the point that are kept: 9 for nano-dollars, 6 for micro-dollars
 * @param most whole dollars, at most
 * @returns in units of 10^-digits dollars; null when it is no such amount, has more digits, or is above `most`
 */
export function parseDollars(text: string, digits: number, most: number): number | null {
  const match = /^(\d{1,9})(?:\.(\d+))?$/.exec(text);
  if (!match) return null;
  const [, whole = "", fraction = ""] = match;
  if (fraction.length > digits) return null;
  const units = BigInt(whole + fraction.padEnd(digits, "0"));
  return units > BigInt(most) * 10n ** BigInt(digits) ? null : Number(units);
}

/** Nano-dollars as dollars, every digit that counts: `0.00015`, `12`. */
export function formatDollars(nano: number | bigint): string {
  const digits = BigInt(nano)
    .toString()
    .padStart(NANO_DIGITS + 1, "0");
  const fraction = digits.slice(-NANO_DIGITS).replace(/0+$/, "");
  const whole = digits.slice(0, -NANO_DIGITS);
  return fraction ? `${whole}.${fraction}` : whole;
}

/** Micro-dollars as dollars. */
export function formatMicroDollars(micro: number): string {
  return formatDollars(BigInt(micro) * 1000n);
}
