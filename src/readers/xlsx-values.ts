/**
 * Numbers of a workbook as text: a date is a number that its format shows as one (ECMA-376, part 1, 18.8.30 and 18.17.4).
 *
 * Numbers are shown by numfmt (34 kB gzip): ssf 0.11 (8 kB) refuses `0 %` and rounds 28.5 % down.
 */
/// <reference path="./numfmt.d.ts" />
import { format, getFormatFromId } from "numfmt";

/** What a number format shows of a number. */
export type Shown = "number" | "date" | "time" | "date and time" | "duration";

/** Of a cell's numbers. */
export interface NumberFormat {
  shown: Shown;
  /** Of what is neither date nor time; null where the number stands as it is. */
  code: string | null;
}

export const GENERAL: NumberFormat = { shown: "number", code: null };

/** Formats that a workbook need not define. Those of East Asia (27–36, 50–58) are dates. */
export function builtInFormat(id: number): NumberFormat {
  if ((id >= 14 && id <= 17) || (id >= 27 && id <= 36) || (id >= 50 && id <= 58)) return { shown: "date", code: null };
  if (id === 22) return { shown: "date and time", code: null };
  if (id === 46) return { shown: "duration", code: null };
  if ((id >= 18 && id <= 21) || id === 45 || id === 47) return { shown: "time", code: null };
  return formatOf(getFormatFromId(id) ?? "General");
}

/** Excel takes no longer one. */
const MAX_CODE = 255;

/** @param code such as `#,##0.00` */
export function formatOf(code: string): NumberFormat {
  const shown = shownBy(code);
  const isPlain = shown !== "number" || code.length > MAX_CODE || /^(?:general|@)?$/i.test(code.trim());
  return { shown, code: isPlain ? null : withoutLanguage(code) };
}

/** Excel takes the signs for thousands and decimals from the computer, not from a format's currency: `[$€-407]` is `[$€]`. */
function withoutLanguage(code: string): string {
  return code.replace(/"[^"]*"|\\.|\[\$([^\]-]*)-[^\]]*\]/g, (found, currency?: string) => {
    if (currency === undefined) return found;
    return currency === "" ? "" : `[$${currency}]`;
  });
}

/** @param code such as `yyyy\-mm\-dd;@` */
export function shownBy(code: string): Shown {
  if (/\[[hms]+\]/i.test(code)) return "duration";
  const letters = code
    .slice(0, MAX_CODE)
    .replace(/"[^"]*"|\\.|_.|\*.|\[[^\]]*\]/g, "")
    .split(";", 1)[0]!
    .replace(/general/i, "");
  const time = /[hs]|am\/pm|a\/p/i.test(letters);
  // An m stands for minutes beside hours or seconds, else for months.
  const date = /[yd]/i.test(letters) || (!time && /m/i.test(letters)) || /mmm/i.test(letters);
  if (date) return time ? "date and time" : "date";
  return time ? "time" : "number";
}

const DAY_SECONDS = 86_400;
/** 9999-12-31, the last day that Excel knows. */
const LAST_DAY = 2_958_465;

/**
 * As Excel shows it, in English: `12.5%`, `€1,234.50`. Dates and times are ISO 8601 as far as the format shows them, a
 * duration is hours, minutes and seconds, and what is no date stays a number.
 */
export function numberText(raw: string, { shown, code }: NumberFormat, date1904: boolean): string {
  const value = Number(raw);
  if (raw.trim() === "" || !Number.isFinite(value)) return raw;
  if (shown === "duration") return `${value < 0 ? "-" : ""}${clock(Math.round(Math.abs(value) * DAY_SECONDS))}`;
  if (shown === "number") return code === null ? plain(value) : formatted(value, code);
  if (value < 0 || value >= LAST_DAY + 1) return plain(value);
  const seconds = Math.round(value * DAY_SECONDS);
  const time = clock(seconds % DAY_SECONDS);
  if (shown === "time") return time;
  const day = isoDay(Math.floor(seconds / DAY_SECONDS), date1904);
  return shown === "date" ? day : `${day}T${time}`;
}

/** Excel keeps and shows fifteen digits: what follows them in a file is the noise of binary fractions. */
function plain(value: number): string {
  return String(Number(value.toPrecision(15)));
}

/** Room that is left for other cells' signs is none of the text. */
function formatted(value: number, code: string): string {
  try {
    return format(code, value).trim();
  } catch {
    return plain(value);
  }
}

function clock(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

function isoDay(day: number, date1904: boolean): string {
  // Of Excel's own making: 1900 was no leap year, and a clock's time has no day.
  if (!date1904 && day === 60) return "1900-02-29";
  if (!date1904 && day === 0) return "1900-01-00";
  const epoch = date1904 ? Date.UTC(1904, 0, 1) : Date.UTC(1899, 11, day < 60 ? 31 : 30);
  return new Date(epoch + day * DAY_SECONDS * 1000).toISOString().slice(0, 10);
}
