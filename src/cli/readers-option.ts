/** `--readers`: which Workers read what tasks are given. */
import type { EnumArgDef } from "citty";

export const readersOption = {
  type: "enum",
  options: ["all", "documents", "none"],
  default: "all",
  description: "Workers that read files for tasks: of documents and images (10 MB), of documents alone, or none",
} satisfies EnumArgDef;
