/** Secrets of a kit that runs on this machine: made once, kept with its state. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface LocalSecrets {
  ADMIN_TOKEN: string;
  KEY_SECRET: string;
}

const FILE = "secrets.json";

/** Those of `state`, null where nothing was started yet. */
export async function readLocalSecrets(state: string): Promise<LocalSecrets | null> {
  try {
    return JSON.parse(await readFile(join(state, FILE), "utf8")) as LocalSecrets;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return null;
  }
}

/** Those of `state`, made where there are none. */
export async function localSecrets(state: string): Promise<LocalSecrets> {
  const kept = await readLocalSecrets(state);
  if (kept) return kept;
  const secret = () => randomBytes(32).toString("base64url");
  const made: LocalSecrets = { ADMIN_TOKEN: secret(), KEY_SECRET: secret() };
  await mkdir(state, { recursive: true });
  await writeFile(join(state, FILE), JSON.stringify(made), { mode: 0o600 });
  return made;
}

/** Gives wrangler secrets of a Worker whose configuration lies in `folder`. */
export async function writeDevVars(folder: string, secrets: LocalSecrets): Promise<void> {
  const lines = Object.entries(secrets).map(([name, value]) => `${name}=${JSON.stringify(value)}\n`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, ".dev.vars"), lines.join(""), { mode: 0o600 });
}
