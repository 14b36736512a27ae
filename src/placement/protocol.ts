/**
 * Between gateway and origin, for requests that the origin answers: `POST /models/NAME@VERSION/decode` and `…/labels`. All
 * of it is in the body, which is signed; what comes back is what the decoder's Worker answers (api/token-stream.ts,
 * api/label-scores.ts).
 */
import * as z from "zod";
import { decodeOptionsSchema } from "../api/token-stream.ts";
import { MODEL_NAME, MODEL_VERSION } from "../store/r2.ts";

const ids = z.array(z.int().nonnegative()).min(1);

export const originDecodeSchema = z.strictObject({
  /** Token ids of each input. */
  inputs: z.array(ids).min(1),
  options: decodeOptionsSchema,
});
export type OriginDecode = z.input<typeof originDecodeSchema>;

export const originLabelsSchema = z.strictObject({
  input: ids,
  /** Token ids of each label. */
  labels: z.array(ids).min(1),
  adapter: z.string().min(1).optional(),
  owner: z.string().min(1),
});
export type OriginLabels = z.input<typeof originLabelsSchema>;

const SHA256 = /^[0-9a-f]{64}$/;
const ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"];

/** Whether an origin may read an object of the bucket: a model's manifests and blobs, an adapter's files. None ever changes. */
export function isServable(key: string): boolean {
  const [kind, name = "", folder, ...rest] = key.split("/");
  if (kind === "models" && MODEL_NAME.test(name)) {
    if (folder === "blobs") return rest.length === 1 && SHA256.test(rest[0] ?? "");
    return (
      folder === "versions" && MODEL_VERSION.test(rest[0] ?? "") && rest[1] === "manifest.json" && rest.length === 2
    );
  }
  if (kind !== "tenants" || folder !== "adapters") return false;
  const [adapter = "", version = "", file = "", ...more] = rest;
  return adapter !== "" && SHA256.test(version) && ADAPTER_FILES.includes(file) && more.length === 0;
}

/** Whether an adapter's key is the owner's. */
export function isOwnAdapter(key: string, owner: string): boolean {
  return key.startsWith(`tenants/${owner}/adapters/`);
}
