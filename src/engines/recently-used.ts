/** What takes long to load and much room to keep: the few that were used last. */
export class RecentlyUsed<Loaded> {
  readonly #most: number;
  /** Used last comes last. */
  readonly #loaded = new Map<string, Promise<Loaded>>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Loaded once for all who ask meanwhile; what failed is loaded again. */
  get(key: string, load: () => Promise<Loaded>): Promise<Loaded> {
    const there = this.#loaded.get(key);
    const loaded = there ?? load();
    if (!there) loaded.catch(() => this.#loaded.get(key) === loaded && this.#loaded.delete(key));
    this.#loaded.delete(key);
    this.#loaded.set(key, loaded);
    for (const oldest of this.#loaded.keys()) {
      if (this.#loaded.size <= this.#most) break;
      this.#loaded.delete(oldest);
    }
    return loaded;
  }

  entries(): IterableIterator<[key: string, loaded: Promise<Loaded>]> {
    return this.#loaded.entries();
  }
}
