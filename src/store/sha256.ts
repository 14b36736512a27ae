/** Incremental SHA-256 over `node:crypto`, which Node and workerd (with `nodejs_compat`) both have. */
import { createHash } from "node:crypto";

export interface Sha256 {
  update(bytes: Uint8Array): void;
  /** The hash as 64 lower-case hex digits; call it once, at the end. */
  digest(): string;
}

export function createSha256(): Sha256 {
  const hash = createHash("sha256");
  return {
    update: (bytes) => void hash.update(bytes),
    digest: () => hash.digest("hex"),
  };
}
