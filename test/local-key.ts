/** An API key of a gateway that runs on this machine. */
import { readLocalSecrets } from "../src/local/secrets.ts";
import { SCOPES } from "../src/tenancy/caller.ts";

/**
 * A key that may do everything, of a tenant that is made where there is none.
 *
 * @param url the gateway's; @param state its folder of local state; @param tenant its id
 */
export async function makeKey(
  url: string,
  state: string,
  tenant = "tests",
): Promise<{ key: string; adminToken: string }> {
  const secrets = await readLocalSecrets(state);
  if (!secrets) throw new Error(`${state} has no secrets.`);
  const adminToken = secrets.ADMIN_TOKEN;
  const post = async (path: string, body: object) => {
    const response = await fetch(url + path, {
      method: "POST",
      headers: { authorization: `Bearer ${adminToken}` },
      body: JSON.stringify(body),
    });
    const json = (await response.json()) as { key?: string };
    // The tenant may be there from an earlier start.
    if (!response.ok && response.status !== 409) throw new Error(JSON.stringify(json));
    return json;
  };
  await post("/admin/tenants", { id: tenant, name: "Tests" });
  const { key } = await post(`/admin/tenants/${tenant}/keys`, { name: "tests", scopes: SCOPES });
  if (!key) throw new Error("The gateway made no key.");
  return { key, adminToken };
}
