/** The gateway's admin routes, as commands call them. */
import { fileURLToPath } from "node:url";
import { EdgeT5Error } from "../errors.ts";
import { readLocalSecrets } from "../local/secrets.ts";
import { PACKAGE_ROOT } from "../package-root.ts";

/** Options of every command that talks to a gateway. */
export const controlPlaneOptions = {
  url: {
    type: "string",
    valueHint: "url",
    description: "The gateway's address; default: $EDGE_T5_URL, or http://127.0.0.1:8787",
  },
  "admin-token": {
    type: "string",
    valueHint: "token",
    description: "Default: $EDGE_T5_ADMIN_TOKEN, or that of the kit on this machine",
  },
} as const;

export interface ControlPlaneArgs {
  url?: string | undefined;
  "admin-token"?: string | undefined;
}

export interface ControlPlane {
  url: string;
  /**
   * @param path such as `/admin/tenants`
   * @param body sent as JSON, a form as it is
   * @param headers more of them, such as `if-match`
   * @returns the answer's JSON; null where it has none
   * @throws EdgeT5Error `E_INPUT` with the gateway's own words when it refuses; `E_IO` when it fails, or cannot be reached
   */
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<unknown>;
}

const LOCAL_URL = "http://127.0.0.1:8787";

export async function controlPlane(args: ControlPlaneArgs): Promise<ControlPlane> {
  return clientOf(await gatewayOf(args));
}

/** As {@link controlPlane}, of a gateway that is known; with an API key, of a tenant's own routes. */
export function clientOf({ url, token }: { url: string; token: string }): ControlPlane {
  return {
    url,
    async request(method, path, body, headers = {}) {
      const isJson = body !== undefined && !(body instanceof FormData);
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...headers,
          authorization: `Bearer ${token}`,
          ...(isJson && { "content-type": "application/json" }),
        },
        ...(body !== undefined && { body: isJson ? JSON.stringify(body) : (body as FormData) }),
      }).catch((cause: Error) => {
        throw unreachable(url, cause);
      });
      const text = await response.text();
      if (!response.ok) throw refusal(response.status, text);
      return text === "" ? null : (JSON.parse(text) as unknown);
    },
  };
}

/** Where the gateway is, and its admin token. @throws EdgeT5Error `E_USAGE` when no token is known */
export async function gatewayOf(args: ControlPlaneArgs): Promise<{ url: string; token: string }> {
  const url = (args.url ?? (process.env.EDGE_T5_URL || LOCAL_URL)).replace(/\/+$/, "");
  if (!URL.canParse(url)) throw new EdgeT5Error("E_USAGE", `--url is ${JSON.stringify(url)}, no address.`);
  const given = args["admin-token"] ?? process.env.EDGE_T5_ADMIN_TOKEN;
  if (given) return { url, token: given };
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(new URL(url).hostname);
  const secrets = isLocal ? await readLocalSecrets(`${fileURLToPath(PACKAGE_ROOT)}.wrangler/state`) : null;
  if (secrets) return { url, token: secrets.ADMIN_TOKEN };
  throw new EdgeT5Error("E_USAGE", "The admin token is missing: give --admin-token, or set EDGE_T5_ADMIN_TOKEN.");
}

export function unreachable(url: string, cause: Error): EdgeT5Error {
  const why = (cause.cause as Error | undefined)?.message ?? cause.message;
  return new EdgeT5Error("E_IO", `${url} cannot be reached: ${why}. Is it the gateway's address? Pass it with --url.`, {
    cause,
  });
}

/** What the gateway did not do, in its own words: `E_INPUT` where it is at fault that was asked, else `E_IO`. */
export class GatewayRefusal extends EdgeT5Error {
  readonly httpStatus: number;

  constructor(code: "E_INPUT" | "E_IO", httpStatus: number, message: string) {
    super(code, message);
    this.httpStatus = httpStatus;
  }
}

/** Statuses below 500 that the same request may not get another time. */
const PASSING: readonly number[] = [408, 425, 429];

/** The gateway's own words, and its code. */
export function refusal(status: number, text: string): GatewayRefusal {
  const said = (code: "E_INPUT" | "E_IO", message: string) =>
    new GatewayRefusal(code, status, `The gateway answers ${status}: ${message}`);
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string; code?: string } };
    if (error?.message) {
      const isAsked = status >= 400 && status < 500 && !PASSING.includes(status);
      return said(isAsked ? "E_INPUT" : "E_IO", `${inTerminal(error.message)} (${error.code})`);
    }
  } catch {
    // Not ours: what stands in front of the gateway.
  }
  return said("E_IO", text.slice(0, 200));
}

/** Commands in the place of routes that a message names. */
const COMMANDS: Readonly<Record<string, string>> = {
  "/admin/tenants": "tenant list",
  "/admin/models": "models",
  "/admin/prices": "price list --all",
  "/v1/files": "file list",
};

function inTerminal(message: string): string {
  return message.replace(/GET (\/[\w/]+) lists them/, (said: string, route: string) => {
    const command = COMMANDS[route];
    return command ? `edge-t5 ${command} lists them` : said;
  });
}

/** Every item of a list, part by part. @param path such as `/admin/tenants` */
export async function listAll<Item>({ request }: ControlPlane, path: string): Promise<Item[]> {
  const items: Item[] = [];
  for (let after = ""; ; ) {
    const page = (await request("GET", `${path}?limit=100${after}`)) as {
      data: Item[];
      has_more: boolean;
      last_id: string;
    };
    items.push(...page.data);
    if (!page.has_more) return items;
    after = `&after=${encodeURIComponent(page.last_id)}`;
  }
}
