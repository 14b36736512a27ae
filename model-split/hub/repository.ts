/** How a repository of the hub is written: `owner/name`, with `@revision` for another than `main`. */

export interface HubRepository {
  /** `google/flan-t5-small` */
  id: string;
  /** `flan-t5-small` */
  name: string;
  /** Branch, tag, commit or `refs/pr/1`. */
  revision: string;
}

const DEFAULT_REVISION = "main";

// The hub's own rule for names; a revision becomes a path of the cache, so that nothing in it may lead out of there.
const REPOSITORY = /^(?<id>\w[\w.-]*\/(?<name>\w[\w.-]*))(@(?<revision>\w[\w.-]*(\/\w[\w.-]*)*))?$/;

/** @returns null for a text that names no repository, such as a path with a leading `.` or `/` or a second slash */
export function parseHubRepository(text: string): HubRepository | null {
  const { id, name, revision = DEFAULT_REVISION } = REPOSITORY.exec(text)?.groups ?? {};
  if (!id || !name || id.includes("--") || text.includes("..")) return null;
  return { id, name, revision };
}
