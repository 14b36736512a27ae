/**
 * A model's versions in a bucket: putting, publishing, taking back, deleting. Nothing that is named is ever changed or
 * removed, and who pushes may do so while another deletes.
 *
 * A blob is deleted when no manifest names it and it was uploaded more than {@link GRACE_MS} ago; a manifest is taken only
 * when each of its blobs was uploaded less than {@link FRESH_MS} ago, or is named by a manifest that is older than that.
 * So a deletion, which ends within {@link SWEEP_MS} of reading the manifests, can have missed none that names what it
 * deletes.
 */
import * as z from "zod";
import { ApiError } from "../api-error.ts";
import { EdgeT5Error } from "../errors.ts";
import { emptyPointer, type ModelPointer, movedBackTo, movedTo, parsePointer } from "../store/model-pointer.ts";
import { MODEL_NAME, MODEL_VERSION, MODELS_PREFIX, modelKey, POINTER_KEY, versionKey } from "../store/r2.ts";
import { sha256Of } from "../store/sha256.ts";
import { blobKey, MANIFEST_KEY, type Manifest, parseManifest } from "../t5/manifest.ts";

/** The part of Cloudflare's R2Bucket that is used here. */
export interface ModelBucket {
  get(
    key: string,
  ): Promise<{ body: ReadableStream<Uint8Array>; etag: string; uploaded: Date; text(): Promise<string> } | null>;
  head(key: string): Promise<{ size: number; uploaded: Date; checksums: { toJSON(): { sha256?: string } } } | null>;
  put(
    key: string,
    value: string | Uint8Array,
    options?: { sha256?: string; onlyIf?: { etagMatches?: string; etagDoesNotMatch?: string } },
  ): Promise<object | null>;
  delete(keys: string[]): Promise<void>;
  list(options: { prefix: string; delimiter?: string; cursor?: string }): Promise<{
    objects: { key: string; size: number; uploaded: Date }[];
    delimitedPrefixes: string[];
    truncated: boolean;
    cursor?: string;
  }>;
}

export interface ModelVersion {
  version: string;
  created: Date;
  /** Of all its blobs; versions share blobs. */
  bytes: number;
}

export interface ModelSummary {
  name: string;
  pointer: ModelPointer;
  /** The latest first. */
  versions: ModelVersion[];
  /** Of all blobs in the bucket, each once. */
  bytes: number;
}

const namedSchema = z.object({ blobs: z.record(z.string(), z.object({ bytes: z.number() })) });

const MINUTE = 60_000;
/** Blobs that no manifest names are kept so long: a push may be about to name them. */
export const GRACE_MS = 60 * MINUTE;
/** A blob that no older manifest names must have been uploaded within this. */
export const FRESH_MS = 30 * MINUTE;
/** The longest that a deletion may take. */
const SWEEP_MS = 10 * MINUTE;
/** Gateways may serve a version for some seconds after another took its place, and answers on it may take longer. */
export const DRAIN_MS = 2 * MINUTE;
/** Two who change the pointer at once: one tries again. */
const TRIES = 50;
const MOST_KEYS = 1000;

/** The version that a manifest is. */
export async function versionOf(manifest: string): Promise<string> {
  return (await sha256Of(new TextEncoder().encode(manifest))).slice(0, 16);
}

/** Names of the models in a bucket, in alphabetical order. */
export async function modelNames(bucket: ModelBucket): Promise<string[]> {
  const prefixes = await listAll(bucket, MODELS_PREFIX, "/", ({ delimitedPrefixes }) => delimitedPrefixes);
  return prefixes.map((prefix) => prefix.slice(MODELS_PREFIX.length, -1)).filter((name) => MODEL_NAME.test(name));
}

export class ModelVersions {
  readonly name: string;
  readonly #bucket: ModelBucket;
  readonly #now: () => number;

  /** @throws ApiError 400 `invalid_model_name` */
  constructor(bucket: ModelBucket, name: string, now: () => number = Date.now) {
    if (!MODEL_NAME.test(name)) {
      throw new ApiError(
        400,
        "invalid_model_name",
        `${JSON.stringify(name)} cannot name a model: use up to 64 letters, digits, ".", "_" and "-", beginning with a letter or digit.`,
      );
    }
    this.name = name;
    this.#bucket = bucket;
    this.#now = now;
  }

  /** @throws ApiError 404 `model_not_found` */
  async summary(): Promise<ModelSummary> {
    const [found, versions, blobs] = await Promise.all([this.#read(), this.#versions(), this.#list("blobs/")]);
    if (!found.etag && versions.length === 0 && blobs.length === 0) throw this.#notFound();
    const described = versions.map(async ({ version, created }): Promise<ModelVersion> => {
      const sizes = Object.values(await this.#blobsOf(version)).map(({ bytes }) => bytes);
      return { version, created, bytes: sizes.reduce((sum, bytes) => sum + bytes, 0) };
    });
    return {
      name: this.name,
      pointer: found.pointer,
      versions: (await Promise.all(described)).sort((a, b) => b.created.getTime() - a.created.getTime()),
      bytes: blobs.reduce((sum, { size }) => sum + size, 0),
    };
  }

  /** What is current, and what was. */
  async pointer(): Promise<ModelPointer> {
    return (await this.#read()).pointer;
  }

  /**
   * Puts a version's manifest; its blobs must be there. Putting it again changes nothing.
   *
   * @throws ApiError 400 `invalid_manifest`, `version_mismatch`; 409 `blobs_missing` ({@link BlobsMissing}) with those to
   * upload, even if they are there but about to be deleted; 409 `version_being_deleted`
   */
  async put(version: string, text: string): Promise<Manifest> {
    let manifest: Manifest;
    try {
      manifest = parseManifest(text);
    } catch (cause) {
      throw new ApiError(400, "invalid_manifest", (cause as Error).message, { cause });
    }
    const own = await versionOf(text);
    if (version !== own) {
      throw new ApiError(400, "version_mismatch", `This manifest is version ${own}, not ${version}: put it there.`);
    }
    await this.#checkBlobs(manifest);
    await this.#checkDeleting(version);
    const isNew = await this.#bucket.put(this.#manifestKey(version), text, { onlyIf: { etagDoesNotMatch: "*" } });
    // Looked at again now that the manifest is there for a deletion to see.
    await this.#checkDeleting(version);
    await this.#checkStaying(manifest, isNew ? version : null);
    return manifest;
  }

  /**
   * Has requests get this version from now on; gateways notice within seconds.
   *
   * @throws ApiError 404 `version_not_found`; 409 `blobs_missing`, `version_being_deleted`
   */
  async publish(version: string): Promise<ModelPointer> {
    await this.check(version);
    return this.#update((pointer) => movedTo(this.#notDeleting(pointer, version), version, new Date(this.#now())));
  }

  /**
   * Goes back to what was current before, or to a version that is named.
   *
   * @throws ApiError 404 `model_not_found`, `version_not_found`; 409 `nothing_to_roll_back`, and as {@link publish}
   */
  async rollback(version?: string): Promise<ModelPointer> {
    const { pointer, etag } = await this.#read();
    if (!etag) throw this.#notFound();
    const target = version ?? pointer.previous[0];
    if (target === undefined) {
      throw new ApiError(
        409,
        "nothing_to_roll_back",
        `No version of ${this.name} was current before this one. Name one: GET /admin/models lists them.`,
      );
    }
    await this.check(target);
    return this.#update((found) => {
      // Another moved it meanwhile: going back from there may not be what was meant.
      if (version === undefined && found.version !== pointer.version) {
        throw new ApiError(409, "conflict", `${this.name} was moved to ${found.version} meanwhile. Try again.`);
      }
      return movedBackTo(this.#notDeleting(found, target), target, new Date(this.#now()));
    });
  }

  /**
   * Whether a version can be published.
   *
   * @throws ApiError 404 `version_not_found`; 409 `blobs_missing`, `version_being_deleted`
   */
  async check(version: string): Promise<Manifest> {
    const manifest = MODEL_VERSION.test(version) ? await this.#manifestOf(version) : null;
    if (!manifest) throw this.#noVersion(version);
    await this.#checkDeleting(version);
    await this.#checkBlobs(manifest);
    return manifest;
  }

  /**
   * Deletes a version, and blobs that no version names any more and that are older than {@link GRACE_MS}. One that was
   * interrupted can be called again.
   *
   * @throws ApiError 404 `version_not_found`; 409 `version_is_current`, `version_in_use` while gateways may still serve it
   */
  async delete(version: string): Promise<{ blobs: string[]; bytes: number }> {
    const manifest = MODEL_VERSION.test(version) && (await this.#bucket.head(this.#manifestKey(version)));
    await this.#update((pointer) => {
      if (pointer.deleting.includes(version)) return pointer;
      if (!manifest) throw this.#noVersion(version);
      if (pointer.version === version) {
        throw new ApiError(409, "version_is_current", `${version} is current. Publish another version first.`);
      }
      const left = Date.parse(pointer.updated) + DRAIN_MS - this.#now();
      if (pointer.previous[0] === version && left > 0) {
        throw new ApiError(409, "version_in_use", `${version} was current until just now. Try again later.`, {
          retryAfter: Math.ceil(left / 1000),
        });
      }
      const previous = pointer.previous.filter((other) => other !== version);
      return { ...pointer, previous, deleting: [...pointer.deleting, version] };
    });
    await this.#bucket.delete([this.#manifestKey(version)]);
    const collected = await this.#collect();
    await this.#update((pointer) => ({
      ...pointer,
      deleting: pointer.deleting.filter((other) => other !== version),
    }));
    return collected;
  }

  /** Deletes what nothing names. Blobs are listed before manifests are read: what comes meanwhile is not looked at. */
  async #collect(): Promise<{ blobs: string[]; bytes: number }> {
    const started = this.#now();
    const blobs = await this.#list("blobs/");
    const named = await this.#namedBlobs(Number.POSITIVE_INFINITY);
    const condemned = blobs.filter(
      ({ key, uploaded }) => !named.has(hashOf(key)) && uploaded.getTime() < started - GRACE_MS,
    );
    for (let first = 0; first < condemned.length; first += MOST_KEYS) {
      if (this.#now() - started > SWEEP_MS) throw new ApiError(503, "timeout", "Deleting took too long. Try again.");
      await this.#bucket.delete(condemned.slice(first, first + MOST_KEYS).map(({ key }) => key));
    }
    return {
      blobs: condemned.map(({ key }) => hashOf(key)),
      bytes: condemned.reduce((sum, { size }) => sum + size, 0),
    };
  }

  /** Blobs that manifests name which were put before `before`, milliseconds; those of one version left out. */
  async #namedBlobs(before: number, besides: string | null = null): Promise<Set<string>> {
    const versions = (await this.#versions()).filter(
      ({ version, created }) => created.getTime() < before && version !== besides,
    );
    const blobs = await Promise.all(versions.map(({ version }) => this.#blobsOf(version)));
    return new Set(blobs.flatMap((named) => Object.keys(named)));
  }

  /** @throws BlobsMissing */
  async #checkBlobs(manifest: Manifest): Promise<void> {
    const missing = (await this.#heads(manifest)).filter(({ isThere }) => !isThere);
    if (missing.length > 0) throw new BlobsMissing(missing.map(({ hash }) => hash));
  }

  /**
   * That blobs are there, and that no deletion that goes on now can take them.
   *
   * @param put the version whose manifest was put just now, which deletions may not have seen
   * @throws BlobsMissing
   */
  async #checkStaying(manifest: Manifest, put: string | null): Promise<void> {
    const fresh = this.#now() - FRESH_MS;
    const doubtful = (await this.#heads(manifest)).filter(({ isThere, uploaded }) => !isThere || uploaded < fresh);
    if (doubtful.length === 0) return;
    const { deleting } = await this.pointer();
    // One that is being deleted still names its blobs, to who reads it in time.
    const named = deleting.length > 0 ? new Set<string>() : await this.#namedBlobs(fresh, put);
    const missing = doubtful.filter(({ hash, isThere }) => !isThere || !named.has(hash));
    if (missing.length > 0) throw new BlobsMissing(missing.map(({ hash }) => hash));
  }

  async #heads({ blobs }: Manifest): Promise<{ hash: string; isThere: boolean; uploaded: number }[]> {
    return Promise.all(
      Object.entries(blobs).map(async ([hash, { bytes }]) => {
        const head = await this.#bucket.head(modelKey(this.name, blobKey(hash)));
        return { hash, isThere: head?.size === bytes, uploaded: head?.uploaded.getTime() ?? 0 };
      }),
    );
  }

  async #checkDeleting(version: string): Promise<void> {
    this.#notDeleting(await this.pointer(), version);
  }

  #notDeleting(pointer: ModelPointer, version: string): ModelPointer {
    if (!pointer.deleting.includes(version)) return pointer;
    throw new ApiError(
      409,
      "version_being_deleted",
      `${version} is being deleted. Try again; if that goes on, the deletion was interrupted: DELETE it once more.`,
      { retryAfter: 5 },
    );
  }

  async #manifestOf(version: string): Promise<Manifest | null> {
    const object = await this.#bucket.get(this.#manifestKey(version));
    return object && parseManifest(await object.text(), this.#manifestKey(version));
  }

  /**
   * What a version names, whichever format its manifest has: a later build's must not lose its blobs to this one's.
   *
   * @throws EdgeT5Error `E_MANIFEST` for what names nothing that can be read: nothing is deleted then
   */
  async #blobsOf(version: string): Promise<Record<string, { bytes: number }>> {
    const key = this.#manifestKey(version);
    const object = await this.#bucket.get(key);
    if (!object) return {};
    try {
      return namedSchema.parse(JSON.parse(await object.text())).blobs;
    } catch (cause) {
      throw new EdgeT5Error("E_MANIFEST", `${key} is damaged. Push that package again, or delete the object.`, {
        cause,
      });
    }
  }

  async #versions(): Promise<{ version: string; created: Date }[]> {
    const objects = await this.#list("versions/");
    return objects.flatMap(({ key, uploaded }) => {
      const version = key.split("/").at(-2) ?? "";
      return key === this.#manifestKey(version) ? [{ version, created: uploaded }] : [];
    });
  }

  #list(folder: string) {
    return listAll(this.#bucket, modelKey(this.name, folder), undefined, ({ objects }) => objects);
  }

  #manifestKey(version: string): string {
    return modelKey(this.name, versionKey(version, MANIFEST_KEY));
  }

  async #read(): Promise<{ pointer: ModelPointer; etag: string | null }> {
    const key = modelKey(this.name, POINTER_KEY);
    const object = await this.#bucket.get(key);
    if (!object) return { pointer: emptyPointer(), etag: null };
    return { pointer: parsePointer(await object.text(), `r2:${key}`), etag: object.etag };
  }

  /** Changes the pointer, on top of whatever another changed meanwhile. @throws what `change` throws */
  async #update(change: (pointer: ModelPointer) => ModelPointer): Promise<ModelPointer> {
    for (let tries = 0; tries < TRIES; tries++) {
      const { pointer, etag } = await this.#read();
      const changed = change(pointer);
      if (changed === pointer) return pointer;
      const onlyIf = etag === null ? { etagDoesNotMatch: "*" } : { etagMatches: etag };
      const key = modelKey(this.name, POINTER_KEY);
      if (await this.#bucket.put(key, JSON.stringify(changed), { onlyIf })) return changed;
    }
    throw new ApiError(409, "conflict", `Others keep changing ${this.name}. Try again.`, { retryAfter: 1 });
  }

  #notFound(): ApiError {
    return new ApiError(404, "model_not_found", `There is no model ${this.name}. GET /admin/models lists them.`);
  }

  #noVersion(version: string): ApiError {
    const what = `${this.name} has no version ${JSON.stringify(version)}`;
    return new ApiError(404, "version_not_found", `${what}. GET /admin/models lists them.`);
  }
}

/** A version cannot be there before its blobs are. */
export class BlobsMissing extends ApiError {
  readonly missing: readonly string[];

  constructor(missing: readonly string[]) {
    super(409, "blobs_missing", `${missing.length} of its blobs must be uploaded first: ${missing.join(", ")}`);
    this.missing = missing;
  }

  override body() {
    return { error: { ...super.body().error, missing: this.missing } };
  }
}

function hashOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

async function listAll<T>(
  bucket: ModelBucket,
  prefix: string,
  delimiter: string | undefined,
  itemsOf: (page: Awaited<ReturnType<ModelBucket["list"]>>) => T[],
): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await bucket.list({ prefix, ...(delimiter && { delimiter }), ...(cursor && { cursor }) });
    items.push(...itemsOf(page));
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor);
  return items;
}
