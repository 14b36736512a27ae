/** Where the hub is, who asks, and where downloads lie: read from the variables that every Hugging Face tool reads. */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { getHFHubCachePath, HUB_URL } from "@huggingface/hub";
import { EdgeT5Error } from "../../src/errors.ts";

export interface HubSettings {
  /** Without a slash at its end. */
  endpoint: string;
  /** Sent to the endpoint, and to no other host. */
  token: string | null;
  cacheDir: string;
  /** Only the cache is used. */
  offline: boolean;
  /** Milliseconds before each new attempt of a request that failed for a passing reason. */
  retryDelays: readonly number[];
}

/** Rides out a restart of a server or a lost connection; what lasts longer is for the user to see. */
const RETRY_DELAYS = [500, 1000, 2000, 4000];

/**
 * `HF_ENDPOINT`; `HF_TOKEN`, else the file `HF_TOKEN_PATH`, else the one of `hf auth login`; `HF_HUB_CACHE` or `HF_HOME`;
 * `HF_HUB_OFFLINE`.
 *
 * @throws EdgeT5Error `E_USAGE` for an endpoint that is no URL and a token that no header can carry
 */
export async function readHubSettings(): Promise<HubSettings> {
  const { HF_ENDPOINT, HF_HUB_OFFLINE } = process.env;
  return {
    endpoint: checkEndpoint(HF_ENDPOINT || HUB_URL),
    token: checkToken(await findToken()),
    cacheDir: getHFHubCachePath(),
    offline: /^(1|on|yes|true)$/i.test(HF_HUB_OFFLINE ?? ""),
    retryDelays: RETRY_DELAYS,
  };
}

async function findToken(): Promise<string> {
  const { HF_TOKEN, HF_TOKEN_PATH, HF_HOME, XDG_CACHE_HOME } = process.env;
  if (HF_TOKEN?.trim()) return HF_TOKEN.trim();
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), ".cache"), "huggingface");
  try {
    return (await readFile(HF_TOKEN_PATH || join(home, "token"), "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}

/** The runtime's own complaint about a header would print the token. */
function checkToken(token: string): string | null {
  if (/^[\x21-\x7e]*$/.test(token)) return token || null;
  throw new EdgeT5Error(
    "E_USAGE",
    "The token for the hub (HF_TOKEN, HF_TOKEN_PATH or the file of hf auth login) holds spaces or characters beyond ASCII. Copy it again.",
  );
}

function checkEndpoint(endpoint: string): string {
  if (/^https?:$/.test(URL.parse(endpoint)?.protocol ?? "")) return endpoint.replace(/\/+$/, "");
  throw new EdgeT5Error(
    "E_USAGE",
    `HF_ENDPOINT is ${JSON.stringify(endpoint)}. It must be a URL such as ${HUB_URL}; unset it for the default.`,
  );
}
