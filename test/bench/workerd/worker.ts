/** Runs the bench's operations in workerd. Its clock stands still during CPU work, so the caller keeps the time. */
import plain from "../../../src/kernels/build/plain.wasm";
import relaxed from "../../../src/kernels/build/relaxed.wasm";
import { modelStore } from "../../../src/store/r2.ts";
import floorsPlain from "../build/floors-plain.wasm";
import floorsRelaxed from "../build/floors-relaxed.wasm";
import { type Operation, Subject } from "../subject.ts";

interface Env {
  SHARDS: R2Bucket;
}

let subject: Subject | null = null;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const url = new URL(request.url);
    if (url.pathname === "/load") {
      const name = url.searchParams.get("kernels") === "relaxed" ? "relaxed" : "plain";
      const kernels = { name, module: name === "relaxed" ? relaxed : plain } as const;
      const floors = name === "relaxed" ? floorsRelaxed : floorsPlain;
      subject = await Subject.load(modelStore(env.SHARDS, "bench"), kernels, floors);
      return Response.json({ wasmBytes: subject.engine.memoryBytes });
    }
    if (!subject) return new Response("load comes first", { status: 409 });
    return Response.json(await subject.run(url.searchParams.get("operation") as Operation));
  },
};
