/** The origin as answers use it, in place of the private Workers: ids go there as they are, tokens come back. */
import type { Halves } from "../../src/api/answers.ts";
import { parseScores } from "../../src/api/label-scores.ts";
import { type DecodeOptions, parseErrorBody, readTokenLines } from "../../src/api/token-stream.ts";
import { ApiError } from "../../src/api-error.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { signatureHeaders } from "../../src/jobs/signature.ts";
import { log } from "../../src/observability/log.ts";
import { CircuitBreaker } from "../../src/placement/breaker.ts";
import type { OriginDecode, OriginLabels } from "../../src/placement/protocol.ts";
import { sha256Of } from "../../src/store/sha256.ts";
import type { TokenEvent } from "../../src/t5/generate.ts";
import type { GatewayBindings } from "./bindings.ts";
import type { HalvesUse } from "./halves.ts";
import { originCalls } from "./metrics.ts";

/** This isolate's view of the origin. */
let breaker: CircuitBreaker | undefined;

/** Of a deployment that has none. */
const RETRY_ABSENT_S = 60;

export function originHalves(use: HalvesUse): Halves<readonly number[]> {
  const whom = { owner: use.owner, ...(use.adapter !== undefined && { adapter: use.adapter }) };
  return {
    encode: async (ids) => ids,
    decode: (inputs, options, signal) => decode(use, inputs, { ...options, ...whom }, signal),
    async score(input, labels, signal) {
      const body: OriginLabels = { input: [...input], labels: labels.map((ids) => [...ids]), ...whom };
      const { response, silence } = await callOrigin(use, "labels", body, signal);
      try {
        return parseScores(await response.json());
      } catch (cause) {
        throw lost(cause, signal);
      } finally {
        silence.end();
      }
    },
  };
}

async function* decode(
  use: HalvesUse,
  inputs: readonly (readonly number[])[],
  options: DecodeOptions,
  signal: AbortSignal,
): AsyncGenerator<TokenEvent, void, undefined> {
  const body: OriginDecode = { inputs: inputs.map((ids) => [...ids]), options };
  const { response, silence } = await callOrigin(use, "decode", body, signal);
  const sequences = inputs.length * Math.max(options.copies, options.params.num_return_sequences);
  try {
    for await (const event of readTokenLines(response.body as ReadableStream<Uint8Array>, sequences)) {
      // While the client reads, the origin need not speak.
      silence.end();
      yield event;
      silence.begin();
    }
  } catch (cause) {
    throw lost(cause, signal);
  } finally {
    silence.end();
  }
}

/** An error in the stream is the origin's own; anything else is its end. */
function lost(cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted || (cause instanceof EdgeT5Error && cause.code !== "E_DECODER_LOST")) return cause;
  originCalls.add(["lost"]);
  breaker?.fail(Date.now());
  return new EdgeT5Error("E_DECODER_LOST", "The origin went away before it was done. Try again.", { cause });
}

/**
 * An answer that has begun: the origin's first byte is its first token.
 *
 * @throws ApiError 503 `origin_unavailable`; EdgeT5Error what the origin threw
 */
async function callOrigin(
  { env, model }: HalvesUse,
  what: "decode" | "labels",
  body: OriginDecode | OriginLabels,
  signal: AbortSignal,
): Promise<{ response: Response; silence: Silence }> {
  const { ORIGIN_URL, ORIGIN_SECRET, ORIGIN_PATIENCE_MS } = env;
  if (!ORIGIN_URL || !ORIGIN_SECRET) throw unavailable(RETRY_ABSENT_S);
  breaker ??= new CircuitBreaker(2 * ORIGIN_PATIENCE_MS);
  if (!breaker.admit(Date.now())) {
    originCalls.add(["resting"]);
    throw unavailable(breaker.secondsLeft(Date.now()));
  }
  const path = `/models/${model}/${what}`;
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  const request = { method: "POST", path, bodyHash: await sha256Of(bytes) };
  const headers = await signatureHeaders(ORIGIN_SECRET, request, Date.now());
  const silence = new Silence(ORIGIN_PATIENCE_MS);
  silence.begin();
  let error: EdgeT5Error | null;
  try {
    const response = await fetch(ORIGIN_URL.replace(/\/+$/, "") + path, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: bytes,
      signal: AbortSignal.any([signal, silence.signal]),
    });
    if (response.ok && response.body) {
      originCalls.add(["answered"]);
      tell(breaker, () => breaker?.succeed());
      return { response, silence };
    }
    error = await thrownThere(response);
    silence.end();
  } catch (cause) {
    silence.end();
    if (signal.aborted) {
      breaker.leave();
      throw cause;
    }
    return refuse(breaker, env, silence.signal.aborted ? "silent" : String(cause));
  }
  // Whoever answers in our words is there.
  if (!error) return refuse(breaker, env, "not an origin's answer");
  originCalls.add(["refused"]);
  tell(breaker, () => breaker?.succeed());
  throw error;
}

/** An error of the engine's; null for what shows that this is no origin of ours: another secret, another server. */
async function thrownThere(response: Response): Promise<EdgeT5Error | null> {
  const text = await response.text();
  try {
    const error = parseErrorBody(JSON.parse(text));
    return error?.code.startsWith("E_") ? error : null;
  } catch {
    return null;
  }
}

function refuse(breaker: CircuitBreaker, env: GatewayBindings, why: string): never {
  originCalls.add(["unreached"]);
  log("warn", "origin unreached", { origin: env.ORIGIN_URL, why });
  const now = Date.now();
  tell(breaker, () => breaker.fail(now));
  throw unavailable(breaker.secondsLeft(now));
}

/** Says when the breaker opens or closes. */
function tell(breaker: CircuitBreaker, change: () => void): void {
  const before = breaker.state;
  change();
  const { state } = breaker;
  if (state !== before) log("warn", "origin breaker", { from: before, to: state });
}

function unavailable(retryAfter: number): ApiError {
  return new ApiError(503, "origin_unavailable", "The origin cannot be reached.", { retryAfter });
}

/** Aborts when nothing was heard for too long. */
class Silence {
  readonly #ms: number;
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number) {
    this.#ms = ms;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  begin(): void {
    this.end();
    this.#timer = setTimeout(() => this.#controller.abort(), this.#ms);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
