/**
 * A deployment, step by step: what is missing in the account is made, what is there stays. Every step can be done again,
 * so one that was interrupted is called again.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { EdgeT5Error } from "../errors.ts";
import type { Manifest } from "../t5/manifest.ts";
import { Account } from "./account.ts";
import { BASES, type DeploymentOptions, planDeployment } from "./deployment.ts";
import { writeWorkers } from "./workers.ts";

/** Secrets that a gateway has from its first day. */
const SECRETS = ["ADMIN_TOKEN", "KEY_SECRET", "ORIGIN_SECRET", "METRICS_TOKEN"] as const;
/** Of these, those that people need after the deployment too. */
const KEPT_SECRETS = ["ADMIN_TOKEN", "ORIGIN_SECRET", "METRICS_TOKEN"] as const;
type Secrets = Partial<Record<(typeof SECRETS)[number], string>>;

export interface PlanOptions extends DeploymentOptions {
  name: string;
  /** Where configurations are written, and what another run needs to know is kept. */
  dir: string;
  /** Where the gateway reaches an origin; null: nowhere any more. Default: where the run before said. */
  origin?: string | null | undefined;
}

export interface DeployOptions extends PlanOptions {
  /** Where the gateway is reached, unless it is where wrangler says. */
  url?: string | undefined;
  /** Set where the gateway has none, and what it is asked with. */
  adminToken?: string | undefined;
  /** What the origin signs with already. Default: the gateway's, or one that is made. */
  originSecret?: string | undefined;
  signal: AbortSignal;
}

export interface DeployStep {
  what: string;
  outcome: "made" | "there" | "updated" | "unchanged" | "planned";
  /** In a plan: what would be done. */
  detail?: string | undefined;
}

export interface Deployed {
  url: string;
  adminToken: string;
  /** What an origin is started with; null where it was set elsewhere. */
  originSecret: string | null;
  /** Where the origin is reached; null: it asks for its work itself. */
  origin: string | null;
  /** Tokens that were made now, and are told this once. */
  made: { adminToken?: string; metricsToken?: string };
}

/** A Worker that was deployed for the first time takes a moment to be reached. */
const PATIENCE_MS = 90_000;
const LOOK_MS = 500;

/** Those behind others first. */
function queuesOf(name: string): string[] {
  return ["usage-dead", "usage", "jobs-dead", "jobs"].map((queue) => `${name}-${queue}`);
}

/** What would be done, in its order; nothing is asked or touched. */
export async function planSteps(manifest: Manifest, options: PlanOptions): Promise<DeployStep[]> {
  const { name } = options;
  const origin = originOf(options, await readKept(options.dir));
  const secrets = `secrets ${SECRETS.join(", ")} are made where they are missing`;
  const reached = origin ? `ORIGIN_URL is ${origin}` : "no ORIGIN_URL: an origin asks for its work itself (--origin)";
  const { workers, limits } = await planDeployment(manifest, options);
  const planned = (what: string, detail: string): DeployStep => ({ what, outcome: "planned", detail });
  return [
    planned(`R2 bucket ${name}`, "make it unless it is there"),
    planned(`D1 database ${name}`, "make it unless it is there"),
    ...queuesOf(name).map((queue) => planned(`queue ${queue}`, "make it unless it is there")),
    planned("D1 migrations", "apply those that were not applied yet"),
    ...workers.map(({ name: worker, holds, base }) =>
      planned(
        `Worker ${worker}`,
        base !== BASES.gateway
          ? `${holds}: deploy it unless it runs as it is; private`
          : `deploy it last, unless it runs as it is; ${secrets}; ${reached}; rate limits come with it`,
      ),
    ),
    planned("/healthz", "wait until it answers"),
    planned(
      `model ${manifest.name}`,
      `push the package's blobs that are not there, publish the version (prompts of up to ${limits.maxInputTokens} tokens, answers of up to ${limits.maxNewTokens})`,
    ),
  ];
}

/**
 * All but the package: that goes through the gateway.
 *
 * @param tell called after each step
 * @throws EdgeT5Error `E_USAGE` when wrangler is not logged in, or the gateway's admin token is not known; `E_IO` with
 * wrangler's words when a step fails; `E_CAPACITY` as {@link planDeployment}
 */
export async function deploy(
  manifest: Manifest,
  options: DeployOptions,
  tell: (step: DeployStep) => void,
): Promise<Deployed> {
  const { name, dir, signal } = options;
  const account = new Account(options.root, signal);
  // Before anything is made: whether it can be.
  await planDeployment(manifest, options);
  await account.identity();
  const kept = await readKept(dir);
  const secretNames = (await account.secretNames(name)) ?? [];
  const secrets: Secrets = {};
  for (const secret of SECRETS) {
    if (secretNames.includes(secret)) continue;
    const given = secret === "ADMIN_TOKEN" ? options.adminToken : undefined;
    secrets[secret] = given ?? kept.secrets[secret] ?? randomBytes(32).toString("base64url");
  }
  const { originSecret: ofOrigin } = options;
  if (ofOrigin && (secrets.ORIGIN_SECRET || ofOrigin !== kept.secrets.ORIGIN_SECRET)) secrets.ORIGIN_SECRET = ofOrigin;
  const adminToken = secrets.ADMIN_TOKEN ?? options.adminToken ?? kept.secrets.ADMIN_TOKEN;
  if (!adminToken) {
    throw new EdgeT5Error(
      "E_USAGE",
      `The gateway ${name} has an admin token that is not known here. Give --admin-token, or set EDGE_T5_ADMIN_TOKEN.`,
    );
  }
  // Kept before they are set, so that a run that is interrupted in between goes on with the same ones.
  const origin = originOf(options, kept);
  await keep(dir, { ...kept, secrets: { ...kept.secrets, ...secrets } });

  const made = (isNew: boolean) => (isNew ? "made" : "there");
  tell({ what: `R2 bucket ${name}`, outcome: made(await account.ensureBucket(name)) });
  const { id, isNew } = await account.ensureDatabase(name);
  tell({ what: `D1 database ${name}`, outcome: made(isNew) });
  for (const queue of queuesOf(name)) {
    tell({ what: `queue ${queue}`, outcome: made(await account.ensureQueue(queue)) });
  }
  const { workers } = await writeWorkers(manifest, dir, { ...options, databaseId: id, originUrl: origin });
  const gateway = workers.at(-1);
  if (!gateway) throw new Error("A deployment has no gateway.");
  tell({ what: "D1 migrations", outcome: (await account.migrate(gateway.path)) ? "updated" : "unchanged" });

  let { url } = kept;
  for (const worker of workers) {
    signal.throwIfAborted();
    const isGateway = worker === gateway;
    const tag = await account.tagOf(worker.path);
    const runs = await account.deployedTag(worker.name);
    const needsSecrets = isGateway && Object.keys(secrets).length > 0;
    // One that is not known where to be reached is deployed again, which tells.
    const isUnknown = isGateway && !url && !options.url;
    const what = `Worker ${worker.name}`;
    if (runs === tag && !needsSecrets && !isUnknown) {
      tell({ what, outcome: "unchanged" });
      continue;
    }
    const targets = await account.deploy(worker.path, tag, isGateway ? secrets : {});
    if (isGateway) url = targets.find((target) => target.startsWith("https://")) ?? url;
    tell({ what, outcome: runs === null ? "made" : "updated" });
  }
  const reached = options.url ?? url;
  if (!reached) {
    throw new EdgeT5Error("E_IO", `${name} is deployed, and wrangler names no address of it. Give --url.`);
  }
  const known: Secrets = { ...kept.secrets, ...secrets, ADMIN_TOKEN: adminToken };
  const lasting = KEPT_SECRETS.flatMap((secret) => (known[secret] ? [[secret, known[secret]]] : []));
  await keep(dir, { url, ...(origin && { origin }), secrets: Object.fromEntries(lasting) });
  await answers(reached, signal);
  tell({ what: `${reached}/healthz`, outcome: "there" });
  return {
    url: reached,
    adminToken,
    originSecret: known.ORIGIN_SECRET ?? null,
    origin,
    made: {
      ...(secrets.ADMIN_TOKEN && !options.adminToken && { adminToken: secrets.ADMIN_TOKEN }),
      ...(secrets.METRICS_TOKEN && { metricsToken: secrets.METRICS_TOKEN }),
    },
  };
}

function originOf({ origin }: PlanOptions, kept: Kept): string | null {
  return origin === undefined ? (kept.origin ?? null) : origin;
}

/** @throws EdgeT5Error `E_IO` when it does not within {@link PATIENCE_MS} */
async function answers(url: string, signal: AbortSignal): Promise<void> {
  let last = "nothing";
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
    const response = await fetch(`${url}/healthz`, { signal }).catch((error: Error) => error);
    signal.throwIfAborted();
    if (response instanceof Response) {
      await response.body?.cancel();
      if (response.ok) return;
      last = `status ${response.status}`;
    } else {
      last = (response.cause as Error | undefined)?.message ?? response.message;
    }
    await delay(LOOK_MS, undefined, { signal });
  }
  throw new EdgeT5Error(
    "E_IO",
    `${url}/healthz does not answer (${last}). Look at npx wrangler tail, and run this again.`,
  );
}

interface Kept {
  url?: string | undefined;
  origin?: string | undefined;
  secrets: Secrets;
}

const KEPT = "deployment.json";

async function readKept(dir: string): Promise<Kept> {
  try {
    return JSON.parse(await readFile(join(dir, KEPT), "utf8")) as Kept;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return { secrets: {} };
  }
}

async function keep(dir: string, kept: Kept): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, KEPT), `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 });
}
