/** Inputs that the packaged model answers well, by the template of the first run's tasks (src/local/demo.ts). */
export const EXAMPLES: Readonly<Record<string, string>> = {
  "translate English to German: {input}": "The house is old.",
  "translate English to French: {input}": "Where is my book?",
  "summarize: {input}":
    "This package provides a command line tool to convert images between formats. It supports PNG, JPEG and TIFF.",
  "classify package: {input}": "A chess game for two players.",
};
