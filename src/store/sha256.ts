/**
 * SHA-256, by the runtime's own code where it can: as bytes arrive (Node, Deno, Bun, workerd), or of all of them at once, on
 * another thread (browsers); else in JavaScript, which takes five times as long.
 */
import { sha256 } from "@noble/hashes/sha2.js";

export interface Sha256 {
  update(bytes: Uint8Array): void;
  /** The hash as 64 lower-case hex digits; call it once, at the end. */
  digest(): string;
}

/** The part of `node:crypto` that is used. */
interface NodeCrypto {
  createHash(algorithm: "sha256"): { update(bytes: Uint8Array): void; digest(encoding: "hex"): string };
}

interface WithBuiltins {
  process?: { getBuiltinModule?: (name: "node:crypto") => NodeCrypto | undefined };
}

/** Looked up when the module is loaded: in workerd that takes as long as hashing 15 MB, and no request waits for it. */
const native = (globalThis as WithBuiltins).process?.getBuiltinModule?.("node:crypto");

/** Whether {@link createSha256} is the runtime's own; where it is not, {@link sha256Of} is faster. */
export const hashesAsBytesArrive = native !== undefined;

/** The hash of bytes that are all there and stay as they are until it is known, as 64 lower-case hex digits. */
export async function sha256Of(bytes: Uint8Array): Promise<string> {
  // Browsers have it on secure origins only.
  const { subtle } = crypto as Partial<Crypto>;
  if (subtle) return hexOf(new Uint8Array(await subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)));
  const hash = createSha256();
  hash.update(bytes);
  return hash.digest();
}

export function createSha256(): Sha256 {
  if (native) {
    const hash = native.createHash("sha256");
    return { update: (bytes) => hash.update(bytes), digest: () => hash.digest("hex") };
  }
  const hash = sha256.create();
  return {
    update: (bytes) => void hash.update(bytes),
    digest: () => hexOf(hash.digest()),
  };
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
