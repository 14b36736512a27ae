/**
 * A repository in the cache that all Hugging Face tools share: `blobs/HASH` hold the bytes, `snapshots/COMMIT/NAME` link
 * to them, `refs/REVISION` say which commit a revision was, and `.no_exist/COMMIT/NAME` which files it does not have.
 * What lies under these names is whole; a download in progress has a name of its own.
 */
import { link, mkdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { getRepoFolderName, REGEX_COMMIT_HASH } from "@huggingface/hub";
import type { HubFile } from "./client.ts";

export class RepositoryCache {
  readonly dir: string;

  constructor(cacheDir: string, id: string) {
    this.dir = join(cacheDir, getRepoFolderName({ type: "model", name: id }));
  }

  blob(hash: string): string {
    return join(this.dir, "blobs", hash);
  }

  snapshot(commit: string): string {
    return join(this.dir, "snapshots", commit);
  }

  /** Whether a commit's file is there, in its size. */
  async has(commit: string, { path, bytes }: HubFile): Promise<boolean> {
    return (await sizeOf(join(this.snapshot(commit), path))) === bytes;
  }

  /** Gives a blob its name in a commit. */
  async add(commit: string, { path, hash }: HubFile): Promise<void> {
    const name = join(this.snapshot(commit), path);
    const blob = this.blob(hash);
    await mkdir(dirname(name), { recursive: true });
    await rm(name, { force: true });
    try {
      await symlink(relative(dirname(name), blob), name);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Another run was faster.
      if (code === "EEXIST") return;
      // Windows lets few users make symbolic links, but everyone hard ones.
      if (code !== "EPERM") throw error;
      await link(blob, name);
    }
  }

  /** The commit that a revision was when it was last downloaded; null when it never was. */
  async readRevision(revision: string): Promise<string | null> {
    if (REGEX_COMMIT_HASH.test(revision)) return revision;
    const commit = await readFile(join(this.dir, "refs", revision), "utf8").catch(() => "");
    return REGEX_COMMIT_HASH.test(commit.trim()) ? commit.trim() : null;
  }

  async writeRevision(revision: string, commit: string): Promise<void> {
    if (REGEX_COMMIT_HASH.test(revision)) return;
    const path = join(this.dir, "refs", revision);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, commit);
  }

  /** Whether a commit is known not to have a file. */
  async isMissing(commit: string, path: string): Promise<boolean> {
    return (await sizeOf(join(this.dir, ".no_exist", commit, path))) !== null;
  }

  async markMissing(commit: string, path: string): Promise<void> {
    const name = join(this.dir, ".no_exist", commit, path);
    await mkdir(dirname(name), { recursive: true });
    await writeFile(name, "");
  }
}

/** A file's bytes, links followed; null when there is none. */
export async function sizeOf(path: string): Promise<number | null> {
  const found = await stat(path).catch(() => null);
  return found?.isFile() ? found.size : null;
}
