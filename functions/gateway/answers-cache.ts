/**
 * Finished answers in the Cache API, where a task asks for it: the same question to the same version of task, model and
 * adapter gets the same answer. What is drawn by chance is not kept. A kept answer costs its request, and no tokens.
 */
import type { Context } from "hono";
import type { GenerationFields } from "../../src/api/generation.ts";
import type { TaskResult } from "../../src/api/task-run.ts";
import type { RenderedInput } from "../../src/tenancy/task-request.ts";
import type { GatewayEnv } from "./bindings.ts";
import { Metered } from "./metered.ts";
import { countAnswer } from "./metrics.ts";
import { chargeOf, generationOf, type Target } from "./target.ts";

export interface AnswersCache {
  /** Null: it is not there. */
  read(): Promise<{ metered: Metered; results: TaskResult[] } | null>;
  write(results: readonly TaskResult[]): void;
}

/** @param words that summaries are to have, if any number @returns null where nothing is kept */
export async function answersCache(
  c: Context<GatewayEnv>,
  target: Target,
  inputs: readonly RenderedInput[],
  fields: GenerationFields,
  words: number | null,
): Promise<AnswersCache | null> {
  const { task, model, adapter } = target;
  if (task?.definition.cache.policy !== "answers") return null;
  const { params, seed, ...generation } = generationOf(target, fields);
  if (params.do_sample && fields.seed == null) return null;
  // All of them, not only what the model is given: of pieces, what stands between them is the answer's too.
  const asked = inputs.map(({ prompt, long, notes }) => [prompt, long?.document, notes]);
  const drawn = params.do_sample ? seed : null;
  const question = JSON.stringify([asked, words, params, drawn, generation, fields.max_tokens]);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(question));
  const hash = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const { tenant } = c.get("caller");
  const path = [tenant, task.name, task.version, model.id, adapter?.key ?? "none", hash].map(String);
  const key = `https://answers.edge-t5.invalid/${path.map(encodeURIComponent).join("/")}`;
  return {
    async read() {
      const kept = await caches.default.match(key);
      countAnswer(kept ? "hit" : "miss");
      if (!kept) return null;
      const metered = await Metered.begin(c, chargeOf(target, 0, 0));
      metered.servedBy = "cache";
      c.header("x-edge-t5-served-by", "cache");
      const results = await metered.whole(c.req.raw.signal, () => kept.json<TaskResult[]>());
      return { metered, results };
    },
    write(results) {
      const headers = { "cache-control": `max-age=${task.definition.cache.ttl_seconds}` };
      c.executionCtx.waitUntil(caches.default.put(key, Response.json(results, { headers })));
    },
  };
}
