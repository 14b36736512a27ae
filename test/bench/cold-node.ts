/**
 * Child process of bench:cold, fresh for every round: from a package's folder, whose files the system has in memory, to the
 * first token; or the stages by themselves, from bytes in memory. One JSON object. Run as `node cold-node.ts PACKAGE MODE`.
 */
import { loadSimdEngine } from "../../src/engines/simd/index.ts";
import { planMemory } from "../../src/engines/simd/plan.ts";
import { T5 } from "../../src/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import { createSha256 } from "../../src/store/sha256.ts";
import { blobKey, MANIFEST_KEY, readManifest } from "../../src/t5/manifest.ts";
import { loadTokenizer } from "../../src/t5/tokenizer.ts";
import type { NodeStages } from "./cold.ts";
import { COLD_PROMPT_TOKENS, promptOf } from "./prompt.ts";

const [dir = "", mode = "whole"] = process.argv.slice(2);

const folder = new FolderStore(dir);
const store = new MemoryStore();
const text = new Map<string, Uint8Array>();
for (const key of [MANIFEST_KEY, ...Object.keys((await readBlobNames()) ?? {}).map(blobKey)]) {
  const stream = await folder.get(key);
  if (!stream) throw new Error(`${dir} has no ${key}.`);
  const bytes = new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
  if (mode === "whole") continue;
  text.set(key, bytes);
  await store.put(key, bytes);
}

/** Without the manifest's schema, which must be as cold as the rest. */
async function readBlobNames(): Promise<object> {
  const stream = await folder.get(MANIFEST_KEY);
  const json = (await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).json()) as { blobs: object };
  return json.blobs;
}

const limits = { maxInputTokens: 512, maxNewTokens: 256, maxSequences: 4 };
const roles = ["encoder", "decoder"] as const;

if (mode === "whole") {
  const started = performance.now();
  const model = await T5.fromPretrained(dir, { ...limits, batchSize: limits.maxSequences });
  const loaded = performance.now();
  const { ids, inputIds } = await model.generate(promptOf(COLD_PROMPT_TOKENS), { max_new_tokens: 1 });
  const ended = performance.now();
  if (ids.length !== 1 || inputIds.length !== COLD_PROMPT_TOKENS) throw new Error("Not the prompt that is measured.");
  console.log(JSON.stringify({ load_ms: loaded - started, first_token_ms: ended - started }));
} else {
  let last = performance.now();
  const lap = () => {
    const now = performance.now();
    const time = now - last;
    last = now;
    return time;
  };
  const kernels = await loadKernels();
  const kernels_ms = lap();
  const manifest = await readManifest(store);
  const manifest_ms = lap();
  const tokenizer = await loadTokenizer(manifest, store);
  const ids = tokenizer.encode(promptOf(COLD_PROMPT_TOKENS));
  const tokenizer_ms = lap();
  const plan = planMemory(manifest, roles, limits);
  const bytes = new Uint8Array(new WebAssembly.Memory({ initial: plan.pages, maximum: plan.pages }).buffer);
  for (const [hash, at] of plan.blobs) bytes.set(text.get(blobKey(hash)) ?? new Uint8Array(), at);
  const copy_ms = lap();
  for (const hash of plan.blobs.keys()) {
    const sha256 = createSha256();
    sha256.update(text.get(blobKey(hash)) ?? new Uint8Array());
    if (sha256.digest() !== hash) throw new Error("corrupt");
  }
  const hash_ms = lap();
  const { encoder, decoder } = await loadSimdEngine({ manifest, store, kernels, roles, limits });
  const load_ms = lap();
  const hidden = await encoder.encode(ids);
  const encode_ms = lap();
  const sequence = await decoder.open(hidden, 1);
  (await decoder.step([sequence], [0])).argmax(0);
  const step_ms = lap();
  const stages: NodeStages = {
    kernels_ms,
    manifest_ms,
    tokenizer_ms,
    copy_ms,
    hash_ms,
    bind_ms: Math.max(0, load_ms - copy_ms - hash_ms),
    encode_ms,
    step_ms,
  };
  console.log(JSON.stringify(stages));
}
