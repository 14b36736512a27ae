/** Incremental SHA-256: the runtime's own where it has one (Node, Deno, Bun, workerd), else in JavaScript. */
import { sha256 } from "@noble/hashes/sha2.js";

export interface Sha256 {
  update(bytes: Uint8Array): void;
  /** The hash as 64 lower-case hex digits; call it once, at the end. */
  digest(): string;
}

/** The part of `node:crypto` that is used. */
interface Crypto {
  createHash(algorithm: "sha256"): { update(bytes: Uint8Array): void; digest(encoding: "hex"): string };
}

interface WithBuiltins {
  process?: { getBuiltinModule?: (name: "node:crypto") => Crypto | undefined };
}

/** Looked up when the module is loaded: in workerd that takes as long as hashing 15 MB, and no request waits for it. */
const native = (globalThis as WithBuiltins).process?.getBuiltinModule?.("node:crypto");

export function createSha256(): Sha256 {
  if (native) {
    const hash = native.createHash("sha256");
    return { update: (bytes) => hash.update(bytes), digest: () => hash.digest("hex") };
  }
  const hash = sha256.create();
  return {
    update: (bytes) => void hash.update(bytes),
    digest: () => Array.from(hash.digest(), (byte) => byte.toString(16).padStart(2, "0")).join(""),
  };
}
