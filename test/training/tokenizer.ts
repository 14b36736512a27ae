/** The packaged model's tokenizer, for tests of data: 8,064 pieces, 100 sentinels. */
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { loadTokenizer } from "../../src/t5/tokenizer.ts";

const store = new FolderStore(DEFAULT_PACKAGE);
const manifest = await readManifest(store);
export const vocabSize = manifest.model.vocabSize;
export const tokenizer = await loadTokenizer(manifest, store);

/** The first `count` items. */
export async function take<Item>(items: AsyncIterable<Item>, count: number): Promise<Item[]> {
  const taken: Item[] = [];
  if (count === 0) return taken;
  for await (const item of items) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}
