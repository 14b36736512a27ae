/** Looks into a package: what it holds, how large it is, and whether its blobs are what its manifest says. */
import { FolderStore } from "../src/store/folder.ts";
import { createSha256 } from "../src/store/sha256.ts";
import type { Store } from "../src/store/store.ts";
import { tensorsOf } from "../src/t5/architecture.ts";
import { blobKey, type Manifest, type PackagedTensor, readManifest } from "../src/t5/manifest.ts";
import { type Bits, elementCount, layoutBytes } from "./layout.ts";

/**
 * `unchecked`: not looked at; `ok`: hashed again; `missing`; `corrupt`: another size, or (when hashed) another hash.
 */
export type BlobState = "unchecked" | "ok" | "missing" | "corrupt";

export interface Inspection {
  location: string;
  name: string;
  format: number;
  bits: Manifest["quantization"]["bits"];
  tiedHead: boolean;
  hasTokenizer: boolean;
  model: Manifest["model"];
  parameters: number;
  /** What the weights take with each choice of bits and of the vocabulary; the package's own first. */
  choices: { bits: Bits; vocabSize: number; bytes: number }[];
  /** Bytes of all blobs that the manifest names. */
  bytes: number;
  /** A shard's bytes include the embedding, which shards share. */
  shards: { role: "encoder" | "decoder"; layers: [number, number]; bytes: number; blobs: string[] }[];
  blobs: { hash: string; role: Manifest["blobs"][string]["role"]; bytes: number; state: BlobState }[];
  /** `bytes` include a quantized tensor's scales. */
  tensors: {
    name: string;
    dtype: PackagedTensor["dtype"];
    shape: number[];
    bytes: number;
    blob: string;
    offset: number;
  }[];
  /** Blobs in the folder that the manifest does not name, left by earlier packages; null for a store without a listing. */
  unreferenced: { blobs: number; bytes: number } | null;
}

/**
 * Describes a package. In a folder, blobs that are missing or of another size are found by its listing; `verify` reads
 * and hashes every blob, wherever it lies.
 *
 * @throws EdgeT5Error `E_PACKAGE_NOT_FOUND`, `E_MANIFEST`, `E_MANIFEST_VERSION`; bad blobs are in the result
 */
export async function inspectPackage(store: Store, options: { verify?: boolean } = {}): Promise<Inspection> {
  const manifest = await readManifest(store);
  const listing = store instanceof FolderStore ? await store.list("blobs") : null;
  const sizes = listing && new Map(listing.map(({ key, bytes }) => [key, bytes]));
  const blobs: Inspection["blobs"] = [];
  for (const [hash, { bytes, role }] of Object.entries(manifest.blobs)) {
    const state = options.verify
      ? await verifyBlob(store, hash, bytes)
      : sizes
        ? compareSize(sizes.get(blobKey(hash)), bytes)
        : "unchecked";
    blobs.push({ hash, role, bytes, state });
  }
  const tensors = Object.entries(manifest.tensors).map(([name, { dtype, shape, bytes, scales, blob, offset }]) => ({
    name,
    dtype,
    shape,
    bytes: bytes + (scales?.bytes ?? 0),
    blob,
    offset,
  }));
  const named = new Set(Object.keys(manifest.blobs).map(blobKey));
  const strays = listing?.filter(({ key }) => !named.has(key));
  return {
    location: store.description,
    name: manifest.name,
    format: manifest.format,
    bits: manifest.quantization.bits,
    tiedHead: manifest.tiedHead,
    hasTokenizer: manifest.tokenizer !== null,
    model: manifest.model,
    parameters: sum(tensors.map(({ shape }) => elementCount(shape))),
    choices: choicesOf(manifest),
    bytes: sum(blobs.map((blob) => blob.bytes)),
    shards: manifest.shards.map((shard) => ({
      role: shard.role,
      layers: shard.layers,
      bytes: sum(shard.blobs.map((hash) => manifest.blobs[hash]?.bytes ?? 0)),
      blobs: shard.blobs,
    })),
    blobs,
    tensors,
    unreferenced: strays ? { blobs: strays.length, bytes: sum(strays.map(({ bytes }) => bytes)) } : null,
  };
}

function choicesOf({ model, tiedHead, trimmedFrom, quantization }: Manifest): Inspection["choices"] {
  const sizes = [model.vocabSize, ...(trimmedFrom === null ? [] : [trimmedFrom])];
  const all = sizes.flatMap((vocabSize) =>
    ([4, 8, 32] as const).map((bits) => ({
      bits,
      vocabSize,
      bytes: layoutBytes(tensorsOf({ ...model, vocabSize }, tiedHead), bits),
    })),
  );
  const isOwn = ({ bits, vocabSize }: (typeof all)[number]) =>
    bits === quantization.bits && vocabSize === model.vocabSize;
  return [...all.filter(isOwn), ...all.filter((choice) => !isOwn(choice))];
}

function compareSize(found: number | undefined, expected: number): BlobState {
  if (found === undefined) return "missing";
  return found === expected ? "unchecked" : "corrupt";
}

async function verifyBlob(store: Store, hash: string, bytes: number): Promise<BlobState> {
  const stream = await store.get(blobKey(hash));
  if (stream === null) return "missing";
  const sha256 = createSha256();
  let read = 0;
  for await (const chunk of stream) {
    sha256.update(chunk);
    read += chunk.length;
  }
  return read === bytes && sha256.digest() === hash ? "ok" : "corrupt";
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
