/** Elements: those of the page by their id, and new ones. Texts are set as texts: nothing is read as HTML. */

/** @throws Error where page and script do not belong together */
export function byId<E extends HTMLElement>(id: string, type: new () => E): E {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new Error(`The page has no #${id}. Load it anew.`);
}

export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Partial<HTMLElementTagNameMap[Tag]> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Puts a text into the clipboard; where that may not be, marks it for the reader to copy. */
export async function copy(button: HTMLButtonElement, from: HTMLElement): Promise<void> {
  button.dataset.label ??= button.textContent;
  try {
    await navigator.clipboard.writeText(from.innerText);
    button.textContent = "Copied";
  } catch {
    getSelection()?.selectAllChildren(from);
    button.textContent = "Marked";
  }
  setTimeout(() => {
    button.textContent = button.dataset.label ?? "";
  }, 1500);
}
