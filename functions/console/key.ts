/** The API key: of the address's fragment, which no server is sent, else of this tab's storage. */
const KEY = "edge-t5-key";

/** What a link to the page may give: `/#key=…&task=…&input=…`. */
export interface Given {
  key: string | null;
  task: string | null;
  input: string | null;
}

/** Takes it out of the address: a link that is copied from there, or a bookmark, has no key. */
export function takeFragment(): Given {
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return { key: given.get("key"), task: given.get("task"), input: given.get("input") };
}

/** Where a browser forbids storage, the key is asked for again. */
export function keptKey(): string {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

export function keepKey(key: string): void {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // The field still has it.
  }
}
