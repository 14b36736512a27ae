/** Readability's own small DOM, which comes without types: as far as it is used here. */
declare module "@mozilla/readability/JSDOMParser.js" {
  export interface SmallNode {
    readonly nodeType: number;
    readonly localName: string | null;
    readonly textContent: string;
    readonly childNodes: readonly SmallNode[];
    readonly attributes: readonly { readonly name: string; readonly value: string }[] | null;
  }

  export default class JSDOMParser {
    /** @param html well-formed: every tag closed, every attribute quoted */
    parse(html: string): Document;
  }
}
