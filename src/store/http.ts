/** A package behind an address: any web server that serves its files. */
import { EdgeT5Error } from "../errors.ts";
import type { Store } from "./store.ts";

export class HttpStore implements Store {
  readonly description: string;
  readonly #base: string;
  readonly #init: RequestInit;

  /**
   * @param address of the package's folder, `https://example.org/models/default`
   * @param init given to every `fetch`, such as headers
   */
  constructor(address: string | URL, init: RequestInit = {}) {
    this.description = String(address).replace(/\/+$/, "");
    this.#base = this.description;
    this.#init = init;
  }

  /** @throws EdgeT5Error `E_IO` for an answer that is neither the object nor 404, or none */
  async get(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const address = `${this.#base}/${key}`;
    const response = await fetch(address, this.#init).catch((cause: Error) => {
      throw new EdgeT5Error("E_IO", `${address} cannot be reached: ${cause.message}. Check address and network.`, {
        cause,
      });
    });
    return bodyOf(response, address);
  }
}

/** The object's bytes; null for 404. @throws EdgeT5Error `E_IO` for any other failure */
export async function bodyOf(response: Response, address: string): Promise<ReadableStream<Uint8Array> | null> {
  if (response.ok && response.body) return response.body;
  await response.body?.cancel();
  if (response.status === 404) return null;
  const hint = response.status === 401 || response.status === 403 ? "Check the credentials" : "Try again";
  throw new EdgeT5Error("E_IO", `${address} answers ${response.status} ${response.statusText}. ${hint}.`);
}
