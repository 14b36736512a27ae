/** Days and months of UTC, as they are billed. */

export const DAY_MS = 86_400_000;

/** From `start` until before `end`, in milliseconds since 1970. */
export interface Period {
  start: number;
  end: number;
}

/** `2026-11-24` */
export function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** `2026-11` */
export function monthOf(at: number): string {
  return new Date(at).toISOString().slice(0, 7);
}

/** @returns null when it is no day of the calendar: `2026-02-30` */
export function parseDay(day: string): Period | null {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(day)) return null;
  const start = Date.parse(`${day}T00:00:00Z`);
  return Number.isNaN(start) || dayOf(start) !== day ? null : { start, end: start + DAY_MS };
}

/** @returns null when it is no month: `2026-13` */
export function parseMonth(month: string): Period | null {
  const match = /^(\d{4})-(0[1-9]|1[0-2])$/.exec(month);
  if (!match) return null;
  // Date.UTC takes years below 100 for those of the last century.
  return Number(match[1]) < 1970
    ? null
    : { start: Date.UTC(Number(match[1]), Number(match[2]) - 1), end: Date.UTC(Number(match[1]), Number(match[2])) };
}
