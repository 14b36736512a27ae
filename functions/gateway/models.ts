/** The models that this gateway serves: every package in the bucket. Manifest and tokenizer are kept once read. */

import { ApiError } from "../../src/api/errors.ts";
import { Resident } from "../../src/engines/resident.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { MODEL_NAME, MODELS_PREFIX, modelKey, modelStore } from "../../src/store/r2.ts";
import { type GenerationParams, generationDefaults } from "../../src/t5/generation/config.ts";
import { MANIFEST_KEY, type ManifestHead, readManifestHead } from "../../src/t5/manifest.ts";
import { loadTokenizer, type Tokenizer } from "../../src/t5/tokenizer.ts";

export interface GatewayModel {
  manifest: ManifestHead;
  tokenizer: Tokenizer;
  /** How it is generated unless a request says otherwise. */
  defaults: Partial<GenerationParams>;
}

const residents = new Map<string, Resident<GatewayModel>>();

/**
 * @param keepAlive as {@link Resident.get}
 * @param loadHalves called when the model is first asked for: the halves load while the tokenizer is built. The request
 * that called it waits for it; others find the halves loading.
 * @throws ApiError 404 `model_not_found`
 * @throws EdgeT5Error when the package is there but cannot be read
 */
export async function findModel(
  bucket: R2Bucket,
  name: string,
  keepAlive: (work: Promise<unknown>) => void,
  loadHalves: () => Promise<void> = async () => {},
): Promise<GatewayModel> {
  if (!MODEL_NAME.test(name)) throw modelNotFound(name);
  const resident = residents.get(name) ?? new Resident<GatewayModel>();
  residents.set(name, resident);
  try {
    let loading: Promise<void> | undefined;
    const model = await resident.get(async () => {
      const store = modelStore(bucket, name);
      const manifest = await readManifestHead(store);
      // Only of a model that is there: names that clients make up go no further.
      loading = loadHalves();
      loading.catch(() => {});
      const tokenizer = await loadTokenizer(manifest, store);
      return { manifest, tokenizer, defaults: generationDefaults(manifest.generation) };
    }, keepAlive);
    await loading;
    return model;
  } catch (error) {
    if (!(error instanceof EdgeT5Error && error.code === "E_PACKAGE_NOT_FOUND")) throw error;
    // Not kept: names that clients make up must not fill the isolate.
    residents.delete(name);
    throw modelNotFound(name);
  }
}

/** Names and times of the packages in the bucket. */
export async function listModels(bucket: R2Bucket): Promise<{ name: string; created: Date }[]> {
  const names: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await bucket.list({ prefix: MODELS_PREFIX, delimiter: "/", ...(cursor && { cursor }) });
    names.push(...page.delimitedPrefixes.map((prefix) => prefix.slice(MODELS_PREFIX.length, -1)));
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor);
  const found = await Promise.all(
    names.map(async (name) => ({ name, manifest: await bucket.head(modelKey(name, MANIFEST_KEY)) })),
  );
  return found.flatMap(({ name, manifest }) => (manifest ? [{ name, created: manifest.uploaded }] : []));
}

/** Whether a package is there: its manifest is written last. */
export async function modelExists(bucket: R2Bucket, name: string): Promise<boolean> {
  return MODEL_NAME.test(name) && (await bucket.head(modelKey(name, MANIFEST_KEY))) !== null;
}

export function modelNotFound(name: string): ApiError {
  return new ApiError(404, "model_not_found", `There is no model ${JSON.stringify(name)}. GET /v1/models lists them.`, {
    param: "model",
  });
}
