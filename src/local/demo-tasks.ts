/** Tasks of the packaged model, for who tries the kit: the first run makes them, and the page at `/` has their examples. */

/** Debian's sections, as far as the packaged model answers with them. */
const SECTIONS = [
  ...["admin", "cli-mono", "comm", "database", "devel", "doc", "editors", "embedded", "fonts", "games", "gnome"],
  ...["gnu-r", "golang", "graphics", "hamradio", "haskell", "interpreters", "introspection", "java", "javascript"],
  ...["kde", "libdevel", "libs", "lisp", "mail", "math", "net", "ocaml", "perl", "python", "ruby", "rust", "science"],
  ...["sound", "tex", "utils", "web", "x11"],
];

export interface DemoTask {
  name: string;
  template: string;
  labels?: readonly string[];
  /** An input that the packaged model answers well. */
  example: string;
}

/** What the packaged model was trained for. */
export const DEMO_TASKS: readonly DemoTask[] = [
  { name: "translate-de", template: "translate English to German: {input}", example: "The house is old." },
  { name: "translate-fr", template: "translate English to French: {input}", example: "Where is my book?" },
  {
    name: "summarize",
    template: "summarize: {input}",
    example:
      "This package provides a command line tool to convert images between formats. It supports PNG, JPEG and TIFF.",
  },
  {
    name: "classify-package",
    template: "classify package: {input}",
    labels: SECTIONS,
    example: "A chess game for two players.",
  },
];
