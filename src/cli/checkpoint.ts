/** The checkpoint that a command is given: a directory as it is, or a repository of the hub, downloaded first. */
import { stat } from "node:fs/promises";
import { createProgress } from "./progress.ts";

export interface LocalCheckpoint {
  dir: string;
  /** Of a repository; a directory's own name is its model's. */
  name?: string;
}

/** @param quiet says nothing on stderr */
export async function localCheckpoint(given: string, quiet: boolean, signal: AbortSignal): Promise<LocalCheckpoint> {
  if (await stat(given).catch(() => null)) return { dir: given };
  const { downloadCheckpoint, parseHubRepository, readHubSettings } = await import("../../model-split/hub/index.ts");
  const repository = parseHubRepository(given);
  // Splitting will say that there is no such directory.
  if (!repository) return { dir: given };
  const settings = await readHubSettings();
  if (!quiet) {
    const source = settings.offline ? "the cache" : new URL(settings.endpoint).host;
    console.error(`No directory ${given} here: taking it from ${source} (${settings.cacheDir})`);
  }
  const progress = quiet ? null : createProgress();
  try {
    const dir = await downloadCheckpoint(repository, settings, {
      onProgress: ({ file, bytesDone, bytesTotal }) => progress?.update(bytesDone, bytesTotal, file),
      signal,
    });
    return { dir, name: repository.name };
  } finally {
    progress?.stop();
  }
}
