/** A tenant's own routes, as commands call them: with an API key. */
import { fileURLToPath } from "node:url";
import { EdgeT5Error } from "../errors.ts";
import { readDemoKey } from "../local/secrets.ts";
import { PACKAGE_ROOT } from "../package-root.ts";
import { type ControlPlane, clientOf, controlPlaneOptions, refusal, unreachable } from "./control-plane.ts";

/** Options of every command that asks as a tenant. */
export const tenantOptions = {
  url: controlPlaneOptions.url,
  key: {
    type: "string",
    valueHint: "key",
    description: "An API key; default: $EDGE_T5_KEY, or the demo tenant's of the kit on this machine",
  },
} as const;

export interface TenantArgs {
  url?: string | undefined;
  key?: string | undefined;
}

export interface TenantClient extends ControlPlane {
  /** An answer as it comes. @throws EdgeT5Error as `request` */
  open(path: string): Promise<Response>;
}

/** @throws EdgeT5Error `E_USAGE` when no key is known */
export async function tenantClient(args: TenantArgs): Promise<TenantClient> {
  const url = (args.url ?? (process.env.EDGE_T5_URL || "http://127.0.0.1:8787")).replace(/\/+$/, "");
  if (!URL.canParse(url)) throw new EdgeT5Error("E_USAGE", `--url is ${JSON.stringify(url)}, no address.`);
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(new URL(url).hostname);
  const local = isLocal ? await readDemoKey(`${fileURLToPath(PACKAGE_ROOT)}.wrangler/state`) : null;
  const key = args.key ?? (process.env.EDGE_T5_KEY || local);
  if (!key) throw new EdgeT5Error("E_USAGE", "An API key is missing: give --key, or set EDGE_T5_KEY.");
  const client = clientOf({ url, token: key });
  return {
    ...client,
    async open(path) {
      const headers = { authorization: `Bearer ${key}` };
      const response = await fetch(url + path, { headers }).catch((cause: Error) => {
        throw unreachable(url, cause);
      });
      if (response.ok) return response;
      throw refusal(response.status, await response.text());
    },
  };
}
