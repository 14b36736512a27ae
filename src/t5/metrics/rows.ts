import { EdgeT5Error } from "../../errors.ts";

/** @throws EdgeT5Error `E_INPUT` unless there is one reference a hypothesis, and at least one */
export function checkRows(hypotheses: readonly string[], references: readonly string[]): void {
  if (hypotheses.length === 0 || hypotheses.length !== references.length) {
    throw new EdgeT5Error(
      "E_INPUT",
      `${hypotheses.length} hypotheses were given ${references.length} references. Give one reference each, and at least one row.`,
    );
  }
}
