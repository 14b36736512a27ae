/** README's table of error codes against the source: none is missing, none is gone. */
import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { PACKAGE_ROOT } from "../../src/package-root.ts";

/** Where a code stands in the source, with its status; a field at fault is always 400. */
const WRITTEN: readonly RegExp[] = [
  /new ApiError\(\s*(?<status>\d+),\s*"(?<code>[a-z_]+)"/g,
  /\brefuse\(\s*"(?<code>[a-z_]+)",\s*[`"']/g,
  /status: (?<status>\d+),\s*code: "(?<code>[a-z_]+)"/g,
];

/** Of one of two, the status stands elsewhere. */
const CHOSEN =
  /const code = [^;]*?\? "(?<one>[a-z_]+)" : "(?<other>[a-z_]+)";[^}]*?new ApiError\((?<status>\d+), code/g;

async function written(): Promise<Set<string>> {
  const found = new Set<string>();
  for (const folder of ["src", "functions"]) {
    for (const path of await readdir(new URL(folder, PACKAGE_ROOT), { recursive: true })) {
      if (!path.endsWith(".ts")) continue;
      const text = await readFile(new URL(`${folder}/${path}`, PACKAGE_ROOT), "utf8");
      const takesCode = /\brefuse = \(code: string/.test(text);
      for (const pattern of WRITTEN) {
        for (const { groups } of text.matchAll(pattern)) {
          if (groups?.status === undefined && !takesCode) continue;
          found.add(`${groups?.status ?? 400} ${groups?.code}`);
        }
      }
      for (const { groups } of text.matchAll(CHOSEN)) {
        found.add(`${groups?.status} ${groups?.one}`).add(`${groups?.status} ${groups?.other}`);
      }
    }
  }
  // The log's alone: who would read it has left.
  found.delete("499 given_up");
  return found;
}

test("README has every code with its status, and no other", async () => {
  const readme = await readFile(new URL("README.md", PACKAGE_ROOT), "utf8");
  const rows = [...readme.matchAll(/^\| ([45]\d\d) \| (`[a-z_]+`.*?) \|/gm)];
  const told = rows.flatMap(([, status, codes = ""]) =>
    [...codes.matchAll(/`([a-z_]+)`/g)].map(([, code]) => `${status} ${code}`),
  );
  expect(told.toSorted()).toEqual([...(await written())].toSorted());
});
