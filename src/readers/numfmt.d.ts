/** Number formats of spreadsheets. The package's own types are not where it says (4.0.1): as far as it is used here. */
declare module "numfmt" {
  /** @throws for a pattern that is none */
  export function format(pattern: string, value: number): string;

  /** Of the formats that a workbook need not define. */
  export function getFormatFromId(id: number): string | null;
}
