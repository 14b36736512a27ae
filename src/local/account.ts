/** What of a deployment is in a Cloudflare account, and how it is made: each a command of wrangler. */
import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EdgeT5Error } from "../errors.ts";
import { type WranglerResult, wrangler } from "./wrangler.ts";

/** Wrangler's words for what is not there: nothing else may be taken for it. */
const ABSENT = {
  bucket: /\[code: 10006\]|bucket does not exist/i,
  queue: /Queue "[^"]*" does not exist/i,
  worker: /\[code: 10007\]|Worker "[^"]*" not found/i,
};

export class Account {
  readonly #root: string;
  readonly #signal: AbortSignal | undefined;

  /** @param root the kit's folder */
  constructor(root: string, signal?: AbortSignal) {
    this.#root = root;
    this.#signal = signal;
  }

  /** Who wrangler is logged in as. @throws EdgeT5Error `E_USAGE` when it is not */
  async identity(): Promise<string> {
    const { code, stdout, stderr } = await this.#run("whoami", "--json");
    const told = jsonIn(stdout) as { loggedIn?: boolean; email?: string; authType?: string } | null;
    if (code === 0 && told?.loggedIn) return told.email ?? told.authType ?? "an API token";
    const why = errorIn(stderr);
    throw new EdgeT5Error(
      "E_USAGE",
      `wrangler is not logged in to Cloudflare${why ? ` (${why})` : ""}. Run npx wrangler login, or set CLOUDFLARE_API_TOKEN; --dry-run works without.`,
    );
  }

  /** @returns whether it was made now */
  async ensureBucket(name: string): Promise<boolean> {
    if (await this.#has("bucket", "r2", "bucket", "info", name, "--json")) return false;
    await this.#do(`The R2 bucket ${name} could not be made`, "r2", "bucket", "create", name);
    return true;
  }

  /** @returns whether it was made now */
  async ensureQueue(name: string): Promise<boolean> {
    if (await this.#has("queue", "queues", "info", name)) return false;
    await this.#do(`The queue ${name} could not be made`, "queues", "create", name);
    return true;
  }

  /** @returns its id, and whether it was made now */
  async ensureDatabase(name: string): Promise<{ id: string; isNew: boolean }> {
    const find = async () => {
      const { stdout } = await this.#do("The D1 databases could not be listed", "d1", "list", "--json");
      const databases = jsonIn(stdout) as { uuid: string; name: string }[] | null;
      return databases?.find((database) => database.name === name)?.uuid;
    };
    const there = await find();
    if (there) return { id: there, isNew: false };
    await this.#do(`The D1 database ${name} could not be made`, "d1", "create", name);
    const made = await find();
    if (!made) throw new EdgeT5Error("E_IO", `The D1 database ${name} was made and is not listed. Try again.`);
    return { id: made, isNew: true };
  }

  /** Applies the migrations that were not applied yet. @returns whether there were any */
  async migrate(config: string): Promise<boolean> {
    const { stdout } = await this.#do(
      "The database could not be brought up to date",
      ...["d1", "migrations", "apply", "DB", "--remote", "-c", config],
    );
    return !/No migrations to apply/i.test(stdout);
  }

  /** Names of a Worker's secrets; null where there is no such Worker. */
  async secretNames(worker: string): Promise<string[] | null> {
    const result = await this.#run("secret", "list", "--name", worker, "--format", "json");
    if (result.code !== 0 && ABSENT.worker.test(result.stderr)) return null;
    const { stdout } = checked(result, `The secrets of ${worker} could not be listed`);
    return ((jsonIn(stdout) ?? []) as { name: string }[]).map(({ name }) => name);
  }

  /** The tag of the version that a Worker runs; null where there is none, or nothing runs. */
  async deployedTag(worker: string): Promise<string | null> {
    const status = await this.#run("deployments", "status", "--name", worker, "--json");
    if (status.code !== 0 && ABSENT.worker.test(status.stderr)) return null;
    const { versions = [] } = (jsonIn(checked(status, `The deployments of ${worker} could not be read`).stdout) ??
      {}) as { versions?: { version_id: string; percentage: number }[] };
    const whole = versions.find(({ percentage }) => percentage === 100);
    const list = await this.#do(
      `The versions of ${worker} could not be read`,
      ...["versions", "list", "--name", worker, "--json"],
    );
    const known = (jsonIn(list.stdout) ?? []) as { id: string; annotations?: Record<string, string> }[];
    return known.find(({ id }) => id === whole?.version_id)?.annotations?.["workers/tag"] ?? null;
  }

  /** A name for what a configuration's Worker would be: the same as long as code and configuration are. */
  async tagOf(config: string): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), "edge-t5-bundle-"));
    try {
      await this.#do(`${config} could not be bundled`, ...["deploy", "--dry-run", "-c", config, "--outdir", dir]);
      const hash = createHash("sha256").update(await readFile(config));
      const files = (await readdir(dir)).filter((name) => /\.(js|wasm)$/.test(name)).sort();
      for (const name of files) hash.update(name).update(await readFile(join(dir, name)));
      // Cloudflare takes up to 25 characters.
      return `edge-t5-${hash.digest("hex").slice(0, 16)}`;
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }

  /**
   * @param secrets set with the new version; others stay as they are
   * @returns addresses that the Worker is reached at
   */
  async deploy(config: string, tag: string, secrets: Readonly<Record<string, string>>): Promise<string[]> {
    const dir = await mkdtemp(join(tmpdir(), "edge-t5-deploy-"));
    try {
      const output = join(dir, `${randomUUID()}.ndjson`);
      const file = join(dir, "secrets.json");
      const hasSecrets = Object.keys(secrets).length > 0;
      if (hasSecrets) await writeFile(file, JSON.stringify(secrets), { mode: 0o600 });
      const args = ["deploy", "-c", config, "--tag", tag, ...(hasSecrets ? ["--secrets-file", file] : [])];
      checked(await this.#run({ WRANGLER_OUTPUT_FILE_PATH: output }, ...args), `${config} could not be deployed`);
      const lines = (await readFile(output, "utf8")).split("\n").filter((line) => line !== "");
      const entries = lines.map((line) => JSON.parse(line) as { type: string; targets?: string[] });
      return entries.find(({ type }) => type === "deploy")?.targets ?? [];
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }

  async #has(kind: keyof typeof ABSENT, ...args: string[]): Promise<boolean> {
    const result = await this.#run(...args);
    if (result.code !== 0 && ABSENT[kind].test(result.stderr)) return false;
    checked(result, `The ${kind} could not be looked for`);
    return true;
  }

  async #do(failure: string, ...args: string[]): Promise<WranglerResult> {
    return checked(await this.#run(...args), failure);
  }

  #run(...args: [Record<string, string>, ...string[]] | string[]): Promise<WranglerResult> {
    const [first, ...rest] = args;
    const [env, words] = typeof first === "object" ? [first, rest as string[]] : [{}, args as string[]];
    return wrangler(words, { root: this.#root, env, signal: this.#signal });
  }
}

/** @throws EdgeT5Error `E_IO` with wrangler's own words */
function checked(result: WranglerResult, failure: string): WranglerResult {
  if (result.code === 0) return result;
  throw new EdgeT5Error("E_IO", `${failure}. wrangler says: ${errorIn(result.stderr) || errorIn(result.stdout)}`);
}

/** JSON in what a command printed, wherever it begins. */
function jsonIn(text: string): unknown {
  const start = text.search(/^[[{]/m);
  if (start < 0) return null;
  try {
    return JSON.parse(text.slice(start)) as unknown;
  } catch {
    return null;
  }
}

/** The message of wrangler's error, without its frame. */
function errorIn(text: string): string {
  const start = text.indexOf("[ERROR]");
  const message = start < 0 ? text : text.slice(start + "[ERROR]".length);
  const [before = ""] = message.split(/If you think this is a bug|🪵/);
  return before.replaceAll(/\s+/g, " ").trim();
}
