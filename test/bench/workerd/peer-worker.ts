/** A whole package on the engine that this Worker was built with (`#engine`), for the bench: peers in workerd. */
import { deployed } from "#engine";
import { modelStore } from "../../../src/store/r2.ts";
import { readManifest } from "../../../src/t5/manifest.ts";
import { PEER_LIMITS, type PeerOperation, PeerSubject } from "../peer-subject.ts";

interface Env {
  SHARDS: R2Bucket;
}

let subject: PeerSubject | undefined;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/load") {
      const store = modelStore(env.SHARDS, "bench");
      const manifest = await readManifest(store);
      const roles = ["encoder", "decoder"] as const;
      subject = new PeerSubject(await deployed.createSlot().load({ manifest, store, roles, limits: PEER_LIMITS }));
      return Response.json(deployed.describe());
    }
    if (!subject) return new Response("load comes first", { status: 409 });
    return Response.json(await subject.run(url.searchParams.get("operation") as PeerOperation));
  },
};
