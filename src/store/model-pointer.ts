/** Which version of a model is asked for: the only object of a model in a bucket that changes. */
import * as z from "zod";
import { EdgeT5Error } from "../errors.ts";

const version = z.string().regex(/^[0-9a-f]{16}$/);

const pointerSchema = z.object({
  /** The version that requests get; null when none was published yet. */
  version: version.nullable(),
  /** What was current before, the latest first, each once. */
  previous: z.array(version),
  /** Versions whose objects are being deleted: none of them can be published. */
  deleting: z.array(version),
  /** When `version` was set, ISO 8601. */
  updated: z.iso.datetime(),
});

export type ModelPointer = z.infer<typeof pointerSchema>;

/** Versions that a rollback can go back through; older ones stay, and can be named. */
const HISTORY = 20;

/** @throws EdgeT5Error `E_MANIFEST` for what no edge-t5 wrote */
export function parsePointer(text: string, source: string): ModelPointer {
  try {
    return pointerSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new EdgeT5Error("E_MANIFEST", `${source} is damaged. Publish the model again: edge-t5 push.`, { cause });
  }
}

/** That of a model of which nothing is published. */
export function emptyPointer(): ModelPointer {
  return { version: null, previous: [], deleting: [], updated: new Date(0).toISOString() };
}

/** The pointer moved on to a version; what was current can be gone back to. */
export function movedTo(pointer: ModelPointer, version: string, now: Date): ModelPointer {
  if (pointer.version === version) return pointer;
  const before = pointer.version === null ? [] : [pointer.version];
  return {
    ...pointer,
    version,
    previous: [...before, ...pointer.previous.filter((other) => other !== version)].slice(0, HISTORY),
    updated: now.toISOString(),
  };
}

/** The pointer moved back: what is taken back is no longer something to go back to. */
export function movedBackTo(pointer: ModelPointer, version: string, now: Date): ModelPointer {
  if (pointer.version === version) return pointer;
  const at = pointer.previous.indexOf(version);
  return { ...pointer, version, previous: pointer.previous.slice(at + 1), updated: now.toISOString() };
}
