/**
 * Requests between gateway and origin, signed both ways: HMAC-SHA-256 under ORIGIN_SECRET over method, path with query,
 * time, nonce and the body's hash.
 */
import { ApiError } from "../api-error.ts";
import { sha256Of } from "../store/sha256.ts";

export const BODY_HASH_HEADER = "x-edge-t5-body-sha256";
const TIME_HEADER = "x-edge-t5-time";
const NONCE_HEADER = "x-edge-t5-nonce";
const SIGNATURE_HEADER = "x-edge-t5-signature";

/** A signature counts for so long, before and after: clocks may be that far apart. */
export const WINDOW_MS = 60_000;

const encoder = new TextEncoder();

/** What is signed of a request. */
export interface SignedRequest {
  method: string;
  /** With its query. */
  path: string;
  /** SHA-256 of the body, 64 hex digits. */
  bodyHash: string;
}

/** Of a signature that is right. */
export interface Signature {
  /** Milliseconds since 1970. */
  time: number;
  nonce: string;
  bodyHash: string;
}

/** @param now milliseconds since 1970 @returns the headers that go with the request */
export async function signatureHeaders(
  secret: string,
  request: SignedRequest,
  now: number,
): Promise<Record<string, string>> {
  const nonce = hexOf(crypto.getRandomValues(new Uint8Array(16)));
  const text = textOf(request, String(now), nonce);
  const mac = await crypto.subtle.sign("HMAC", await keyOf(secret, "sign"), text);
  return {
    [TIME_HEADER]: String(now),
    [NONCE_HEADER]: nonce,
    [BODY_HASH_HEADER]: request.bodyHash,
    [SIGNATURE_HEADER]: hexOf(new Uint8Array(mac)),
  };
}

/**
 * Compares in constant time. That the body has the hash, and that the nonce is new, is for the caller to see.
 *
 * @param now milliseconds since 1970
 * @throws ApiError 401 `invalid_signature`, the same whatever is wrong with it; `stale_signature` for one that was right at
 * another time: whoever has the secret is told of clocks
 */
export async function checkSignature(
  secret: string | undefined,
  { method, path }: Omit<SignedRequest, "bodyHash">,
  headers: Headers,
  now: number,
): Promise<Signature> {
  const time = headers.get(TIME_HEADER) ?? "";
  const nonce = headers.get(NONCE_HEADER) ?? "";
  const bodyHash = headers.get(BODY_HASH_HEADER) ?? "";
  const given = bytesOf(headers.get(SIGNATURE_HEADER) ?? "");
  const isWellFormed = /^\d{1,15}$/.test(time) && /^[0-9a-f]{32}$/.test(nonce) && /^[0-9a-f]{64}$/.test(bodyHash);
  const text = textOf({ method, path, bodyHash }, time, nonce);
  // An empty secret opens nothing.
  const isRight = await crypto.subtle.verify("HMAC", await keyOf(secret || "unset", "verify"), given, text);
  if (!isRight || !isWellFormed || !secret) throw refused();
  const apart = now - Number(time);
  if (Math.abs(apart) > WINDOW_MS) {
    throw new ApiError(
      401,
      "stale_signature",
      `This request was signed ${Math.round(apart / 1000)} seconds ago by this clock; ${WINDOW_MS / 1000} are allowed. Set both clocks.`,
    );
  }
  return { time: Number(time), nonce, bodyHash };
}

/** @throws ApiError 401 `invalid_signature` for a body that is not what was signed */
export async function checkBody(body: Uint8Array, { bodyHash }: Signature): Promise<void> {
  if ((await sha256Of(body)) !== bodyHash) throw refused();
}

export function refused(): ApiError {
  return new ApiError(
    401,
    "invalid_signature",
    "This needs a request that was signed with the deployment's ORIGIN_SECRET.",
  );
}

/**
 * Takes each signature once, in a process that remembers those of its window. What was signed before it started may have
 * been taken by the process before.
 */
export class ReplayGuard {
  readonly #started: number;
  /** Nonces, and until when each must be remembered; the oldest first. */
  readonly #taken = new Map<string, number>();

  /** @param started milliseconds since 1970 */
  constructor(started: number) {
    this.#started = started;
  }

  /** @throws ApiError 401 `replayed_signature` */
  take({ time, nonce }: Signature, now: number): void {
    for (const [old, until] of this.#taken) {
      if (until > now) break;
      this.#taken.delete(old);
    }
    if (time < this.#started || this.#taken.has(nonce)) throw replayed();
    // A time ahead of this clock counts for longer, and all are remembered for as long as the longest.
    this.#taken.set(nonce, now + 2 * WINDOW_MS);
  }
}

export function replayed(): ApiError {
  return new ApiError(401, "replayed_signature", "This signature was used before. Sign every request anew.");
}

function textOf({ method, path, bodyHash }: SignedRequest, time: string, nonce: string): Uint8Array<ArrayBuffer> {
  return bytesOfText(["edge-t5 1", method.toUpperCase(), path, time, nonce, bodyHash].join("\n"));
}

function bytesOfText(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(encoder.encode(text));
}

function keyOf(secret: string, use: "sign" | "verify"): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", bytesOfText(secret), { name: "HMAC", hash: "SHA-256" }, false, [use]);
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @returns no bytes for what is no hex */
function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  if (!/^[0-9a-f]{64}$/.test(hex)) return new Uint8Array(0);
  return Uint8Array.from({ length: 32 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}
