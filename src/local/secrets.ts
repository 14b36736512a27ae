/** Secrets of a kit that runs on this machine: made once, kept with its state. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface LocalSecrets {
  ADMIN_TOKEN: string;
  KEY_SECRET: string;
  /** What gateway and origin sign with. */
  ORIGIN_SECRET: string;
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
  if (kept?.ORIGIN_SECRET) return kept;
  const secret = () => randomBytes(32).toString("base64url");
  // State of an earlier build has not all of them.
  const made: LocalSecrets = { ADMIN_TOKEN: secret(), KEY_SECRET: secret(), ORIGIN_SECRET: secret(), ...kept };
  await mkdir(state, { recursive: true });
  await writeFile(join(state, FILE), JSON.stringify(made), { mode: 0o600 });
  return made;
}

const DEMO_KEY_FILE = "demo-key.txt";

/** The demo tenant's API key, null where none was made yet. */
export async function readDemoKey(state: string): Promise<string | null> {
  try {
    return (await readFile(join(state, DEMO_KEY_FILE), "utf8")).trim() || null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return null;
  }
}

/** A key cannot be read from the database again: it is kept here, for its owner alone. */
export async function writeDemoKey(state: string, key: string): Promise<void> {
  await writeFile(join(state, DEMO_KEY_FILE), `${key}\n`, { mode: 0o600 });
}

/** Gives wrangler secrets, and what else differs from start to start, of a Worker whose configuration lies in `folder`. */
export async function writeDevVars(
  folder: string,
  values: LocalSecrets & { ORIGIN_URL?: string | undefined },
): Promise<void> {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${JSON.stringify(value)}\n`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, ".dev.vars"), lines.join(""), { mode: 0o600 });
}
