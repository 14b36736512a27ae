/** Everything that a hub may answer instead of a file, as one of our errors. */
import { EdgeT5Error } from "../../src/errors.ts";
import type { HubRepository } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

const RESUMES = "Run the command again: the download goes on where it stopped.";

/** Failed for a reason that may have passed a moment later. */
export class PassingError extends EdgeT5Error {
  constructor(message: string, cause?: unknown) {
    super("E_IO", `${message} ${RESUMES}`, { cause });
  }
}

/** A connection that was made and lost, or slow to come about; the rest (no such host, refused) will not pass by itself. */
const PASSING_CODES = new Set([
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "UND_ERR_SOCKET",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
]);

/** `fetch` rejected: no answer at all. */
export function unreachable(url: URL, error: unknown): EdgeT5Error {
  const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
  const reason = cause?.code ?? cause?.message ?? (error as Error).message;
  if (PASSING_CODES.has(reason)) return new PassingError(`${url.origin} broke off the connection (${reason}).`, error);
  return new EdgeT5Error(
    "E_IO",
    `${url.origin} could not be reached (${reason}). Check the network and HF_ENDPOINT${proxyHint()}, or give a local directory; HF_HUB_OFFLINE=1 takes what was downloaded before. ${RESUMES}`,
    { cause: error },
  );
}

/** Node's fetch knows the usual variables only when told to. */
function proxyHint(): string {
  const { HTTPS_PROXY, https_proxy, NODE_USE_ENV_PROXY } = process.env;
  return (HTTPS_PROXY || https_proxy) && !NODE_USE_ENV_PROXY ? " (HTTPS_PROXY counts with NODE_USE_ENV_PROXY=1)" : "";
}

/** The answer is an error's. */
export function refused(response: Response, repository: HubRepository, settings: HubSettings): EdgeT5Error {
  const { status } = response;
  const { endpoint } = settings;
  const { id, revision } = repository;
  const { origin } = new URL(response.url);
  if (status === 408 || status === 429 || status >= 500) return new PassingError(`${origin} answered ${status}.`);
  // A storage host behind the hub knows neither token nor repository.
  if (origin === new URL(endpoint).origin) {
    if (status === 401 || status === 403) {
      const remedy = settings.token
        ? `The token that was sent may not read it: accept its terms at ${endpoint}/${id} with the token's account, or set HF_TOKEN to another.`
        : `Accept its terms at ${endpoint}/${id}, then log in with hf auth login or set HF_TOKEN to a token from ${endpoint}/settings/tokens.`;
      return new EdgeT5Error(
        "E_CHECKPOINT_ACCESS",
        `${endpoint} does not give out ${id} (${status}): it is gated or private, or there is no such repository. ${remedy}`,
      );
    }
    if (status === 404) {
      return new EdgeT5Error(
        "E_CHECKPOINT_NOT_FOUND",
        `${endpoint} has no repository ${id} with the revision ${revision}, and there is no such directory here. Check the spelling; a repository is OWNER/NAME or OWNER/NAME@REVISION.`,
      );
    }
  }
  return new EdgeT5Error(
    "E_IO",
    `${origin} answered ${status} when asked for ${id}. Try later, or give a local directory.`,
  );
}
