/** One half of a package on onnxruntime-web in workerd, for the bench. */
import { deployed, heapBytes } from "../../../src/engines/onnx/worker.ts";
import { modelStore } from "../../../src/store/r2.ts";
import type { Decoder, Encoder, Sequence } from "../../../src/t5/engine.ts";
import { readManifest } from "../../../src/t5/manifest.ts";

interface Env {
  SHARDS: R2Bucket;
}

const PROMPT_TOKENS = 128;
const LIMITS = { maxInputTokens: 512, maxNewTokens: 128, maxSequences: 1, memoryBytes: 128e6 };

let encoder: Encoder | undefined;
let decoder: Decoder | undefined;
let sequence: Sequence | undefined;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/load") {
      const store = modelStore(env.SHARDS, "bench");
      const manifest = await readManifest(store);
      const role = url.searchParams.get("half") === "encoder" ? "encoder" : "decoder";
      const engine = await deployed.createSlot().load({ manifest, store, roles: [role], limits: LIMITS });
      ({ encoder, decoder } = engine);
      return Response.json({ wasmBytes: heapBytes() });
    }
    if (!encoder && !decoder) return new Response("load comes first", { status: 409 });
    switch (url.searchParams.get("operation")) {
      case "encode":
        return Response.json((await encoder?.encode(Array.from({ length: PROMPT_TOKENS }, (_, i) => 100 + i)))?.[0]);
      case "prepare":
        if (sequence) decoder?.close(sequence);
        sequence = await decoder?.open(new Float32Array(PROMPT_TOKENS * (decoder.config.dModel ?? 0)), 128);
        return Response.json(await steps(24));
      case "steps":
        return Response.json(await steps(16));
      default:
        return Response.json(heapBytes());
    }
  },
};

async function steps(n: number): Promise<number> {
  let token = 0;
  for (let i = 0; i < n; i++) {
    if (decoder && sequence) token = (await decoder.step([sequence], [token])).argmax(0);
  }
  return token;
}
