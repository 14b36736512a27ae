/**
 * The models that this gateway serves: of every model in the bucket the version that is published. Manifests and
 * tokenizers are kept once read, as many as there is room for.
 */

import { ApiError } from "../../src/api-error.ts";
import { Resident } from "../../src/engines/resident.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { parsePointer } from "../../src/store/model-pointer.ts";
import { MODEL_NAME, modelId, modelKey, modelStore, POINTER_KEY } from "../../src/store/r2.ts";
import { type GenerationParams, generationDefaults } from "../../src/t5/generation/config.ts";
import { type ManifestHead, readManifestHead } from "../../src/t5/manifest.ts";
import { loadTokenizer, type Tokenizer } from "../../src/t5/tokenizer.ts";
import { modelNames } from "../../src/tenancy/model-versions.ts";
import { countLoad } from "./metrics.ts";

export interface GatewayModel {
  /** `NAME@VERSION`: what the halves are asked for, from a request's start to its end. */
  id: string;
  version: string;
  manifest: ManifestHead;
  tokenizer: Tokenizer;
  /** How it is generated unless a request says otherwise. */
  defaults: Partial<GenerationParams>;
}

/** Which version of the model answered. */
export const MODEL_VERSION_HEADER = "x-model-version";

type KeepAlive = (work: Promise<unknown>) => void;

/** What was current, and when that was read, milliseconds since 1970. */
interface Seen {
  version: string;
  read: number;
  /** When a request began to read it again. */
  asked: number;
}

/** A version is taken for current so long without a look. */
const FRESH_MS = 4_000;
/** So long while a look is under way: within this after a version was published, all requests get it. */
const STALE_MS = 10_000;

/**
 * Pieces of the vocabularies that are kept: room for mT5's 250,000 and some more. A tokenizer was measured to hold 121
 * bytes a piece (the packaged model's, in Node), so these take about 36 MB of an isolate's 128.
 */
const MOST_PIECES = 300_000;

const current = new Map<string, Seen>();
/** By `NAME@VERSION`; least recently asked for first. */
const residents = new Map<string, Resident<GatewayModel>>();

/**
 * @param keepAlive as {@link Resident.get}
 * @param loadHalves called when the version is first asked for: the halves load while the tokenizer is built. The request
 * that called it waits for it; others find the halves loading.
 * @throws ApiError 404 `model_not_found`
 * @throws EdgeT5Error when the package is there but cannot be read
 */
export async function findModel(
  bucket: R2Bucket,
  name: string,
  keepAlive: KeepAlive,
  loadHalves: (id: string) => Promise<void> = async () => {},
): Promise<GatewayModel> {
  const version = await currentVersion(bucket, name, keepAlive);
  try {
    return await loadModel(bucket, name, version, keepAlive, loadHalves);
  } catch (error) {
    // What was current when it was last looked at is no more.
    if (!(error instanceof EdgeT5Error && error.code === "E_PACKAGE_NOT_FOUND")) throw error;
    const now = await look(bucket, name);
    if (now === null) throw modelNotFound(name);
    if (now === version) throw error;
    return loadModel(bucket, name, now, keepAlive, loadHalves);
  }
}

async function loadModel(
  bucket: R2Bucket,
  name: string,
  version: string,
  keepAlive: KeepAlive,
  loadHalves: (id: string) => Promise<void>,
): Promise<GatewayModel> {
  const id = modelId(name, version);
  const resident = residents.get(id) ?? new Resident<GatewayModel>();
  residents.delete(id);
  residents.set(id, resident);
  let loading: Promise<void> | undefined;
  const load = async () => {
    const store = modelStore(bucket, id);
    const manifest = await readManifestHead(store);
    loading = loadHalves(id);
    loading.catch(() => {});
    const tokenizer = await loadTokenizer(manifest, store);
    return { id, version, manifest, tokenizer, defaults: generationDefaults(manifest.generation) };
  };
  const model = await resident.get(() => countLoad(load), keepAlive);
  letGo(id);
  await loading;
  return model;
}

/** Requests in this isolate get a version that was published in it at once. */
export function setCurrent(name: string, version: string): void {
  current.set(name, { version, read: Date.now(), asked: 0 });
}

/** @throws ApiError 404 `model_not_found` */
async function currentVersion(bucket: R2Bucket, name: string, keepAlive: KeepAlive): Promise<string> {
  if (!MODEL_NAME.test(name)) throw modelNotFound(name);
  const seen = current.get(name);
  const now = Date.now();
  const age = seen ? now - seen.read : Number.POSITIVE_INFINITY;
  if (seen && age < FRESH_MS) return seen.version;
  if (seen && age < STALE_MS) {
    // Nobody waits for this look, which may go down with its request: another begins one a second later.
    if (now - seen.asked >= 1_000) {
      seen.asked = now;
      keepAlive(look(bucket, name).catch(() => {}));
    }
    return seen.version;
  }
  try {
    const version = await look(bucket, name);
    if (version !== null) return version;
  } catch (error) {
    // Storage that is away for a moment does not stop a model that is loaded.
    if (seen) return seen.version;
    throw error;
  }
  throw modelNotFound(name);
}

/** Reads which version is current; null where none is. Names that clients make up are not kept. */
async function look(bucket: R2Bucket, name: string): Promise<string | null> {
  const began = Date.now();
  const key = modelKey(name, POINTER_KEY);
  const object = await bucket.get(key);
  const version = object && parsePointer(await object.text(), `r2:${key}`).version;
  if (!version) {
    current.delete(name);
    return null;
  }
  const seen = current.get(name);
  // One that began later may have ended earlier.
  if (!seen || seen.read <= began) current.set(name, { version, read: began, asked: 0 });
  return version;
}

/** Lets go of versions that were not asked for longest until the rest fits beside the one named. */
function letGo(asked: string): void {
  let pieces = 0;
  for (const [id, { state, value }] of [...residents].reverse()) {
    pieces += value?.manifest.model.vocabSize ?? 0;
    const isOld = pieces > MOST_PIECES || state === "absent";
    if (isOld && id !== asked && state !== "loading") residents.delete(id);
  }
}

/** Names of the models that can be asked for, and when their versions were published. */
export async function listModels(bucket: R2Bucket): Promise<{ name: string; created: Date }[]> {
  const names = await modelNames(bucket);
  const found = await Promise.all(
    names.map(async (name) => ({ name, pointer: await bucket.get(modelKey(name, POINTER_KEY)) })),
  );
  const published = found.map(async ({ name, pointer }) => {
    if (!pointer) return [];
    const { version, updated } = parsePointer(await pointer.text(), pointer.key);
    return version === null ? [] : [{ name, created: new Date(updated) }];
  });
  return (await Promise.all(published)).flat();
}

/** Whether a version of a model is published. */
export async function modelExists(bucket: R2Bucket, name: string): Promise<boolean> {
  return MODEL_NAME.test(name) && (await look(bucket, name)) !== null;
}

export function modelNotFound(name: string): ApiError {
  return new ApiError(404, "model_not_found", `There is no model ${JSON.stringify(name)}. GET /v1/models lists them.`, {
    param: "model",
  });
}
