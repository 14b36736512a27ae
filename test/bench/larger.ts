/**
 * `npm run bench:larger [-- --json]`: T5-base's shape with random weights, at int4 in two isolates and at int8 in four: what
 * each isolate holds with one stream and a prompt of 128 tokens, and whether the answer is that of one piece in Node.
 *
 * Each Worker runs under a `wrangler dev` of its own, so that each isolate's heap can be asked for.
 */
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { splitCheckpoint } from "../../model-split/index.ts";
import { formatTable } from "../../src/cli/output.ts";
import { T5 } from "../../src/index.ts";
import { seedR2 } from "../../src/local/seed-r2.ts";
import { writeWorkers } from "../../src/local/workers.ts";
import { makeKey } from "../local-key.ts";
import { T5_SMALL, writeRandomCheckpoint } from "./checkpoint.ts";
import { HeapWatch } from "./heap-watch.ts";
import { prepareGateway, ROOT } from "./package.ts";
import { type RunningWorker, startWorker } from "./workerd-run.ts";

const SPIECE = fileURLToPath(new URL("../fixtures/t5-tokenizer/spiece.model", import.meta.url));
const T5_BASE = { ...T5_SMALL, d_model: 768, d_ff: 3072, num_heads: 12, num_layers: 12, num_decoder_layers: 12 };
const PROMPT_TOKENS = 128;
const NEW_TOKENS = 128;
const SEED = 7;

interface Health {
  models: Record<string, { wasm_bytes: number }>;
  upstream?: Health;
}

interface Result {
  bits: number;
  worker: string;
  holds: string;
  wasm_mb: number;
  heap_mb: number;
  total_mb: number;
}

const say = (text: string) => process.stderr.write(`${text}\n`);
const work = await mkdtemp(join(tmpdir(), "edge-t5-larger-"));
try {
  say("making a checkpoint of T5-base's shape with random weights (seed 1)");
  const checkpoint = join(work, "checkpoint");
  await writeRandomCheckpoint(checkpoint, T5_BASE);
  await copyFile(SPIECE, join(checkpoint, "spiece.model"));
  const results: Result[] = [];
  const answers = [];
  for (const bits of [4, 8] as const) {
    say(`splitting at ${bits} bits`);
    const dir = join(work, `package-${bits}`);
    const { manifest } = await splitCheckpoint(checkpoint, dir, { bits, name: "base" });
    const { workers } = await writeWorkers(manifest, join(work, `workers-${bits}`), {
      root: ROOT,
      engine: "simd",
      oneWorker: false,
      readers: "none",
    });
    const state = join(work, `state-${bits}`);
    await seedR2(dir, ROOT, state);
    await prepareGateway(workers, state);
    const running: RunningWorker[] = [];
    try {
      say(`starting ${workers.length} Workers`);
      for (const { path } of workers) {
        running.push(await startWorker(path, state, { WRANGLER_REGISTRY_PATH: join(work, `registry-${bits}`) }));
      }
      const { key, adminToken } = await makeKey((running.at(-1) as RunningWorker).url, state);
      const answer = await measure(dir, running, { key, adminToken });
      answers.push({ bits, ...answer.summary });
      for (const [i, { name, holds }] of workers.entries()) {
        if (holds === "gateway") continue;
        const [wasm_mb, heap_mb] = [answer.wasmBytes[i] ?? 0, answer.heapBytes[i] ?? 0].map((bytes) => bytes / 1e6) as [
          number,
          number,
        ];
        results.push({ bits, worker: name, holds, wasm_mb, heap_mb, total_mb: wasm_mb + heap_mb });
      }
    } finally {
      for (const worker of running) await worker.stop();
    }
  }
  if (process.argv.includes("--json")) console.log(JSON.stringify({ isolates: results, answers }));
  else {
    const rows = results.map(({ bits, worker, holds, wasm_mb, heap_mb, total_mb }) => [
      `int${bits}`,
      worker,
      holds,
      ...[wasm_mb, heap_mb, total_mb].map((value) => value.toFixed(1)),
    ]);
    console.log(
      formatTable(["WEIGHTS", "WORKER", "HOLDS", "WASM, MB", "JS HEAP AND BUFFERS, PEAK, MB", "SUM, MB"], rows),
    );
    for (const { bits, prompt, greedy, sampled, tokens, ms } of answers) {
      console.log(
        `\nint${bits}: prompt ${prompt} tokens, ${tokens} new ones; greedy ${same(greedy)}, sampled ${same(sampled)}; ` +
          `${ms.toFixed(1)} ms a token through the Workers.`,
      );
    }
  }
} finally {
  await rm(work, { recursive: true, force: true });
}

function same(isSame: boolean): string {
  return isSame ? "the same as in one piece in Node" : "NOT what it is in one piece in Node";
}

/** One greedy and one sampled answer through the Workers, the last of which is the gateway. */
async function measure(
  dir: string,
  running: readonly RunningWorker[],
  { key, adminToken }: { key: string; adminToken: string },
) {
  const t5 = await T5.fromPretrained(dir, { maxInputTokens: PROMPT_TOKENS, maxNewTokens: NEW_TOKENS, batchSize: 1 });
  let prompt = "summarize:";
  while (t5.tokenizer.encode(`${prompt} word`).length <= PROMPT_TOKENS) prompt += " word";
  const options = { max_new_tokens: NEW_TOKENS, suppress_tokens: [1] };
  const greedy = await t5.generate(prompt, options);
  const sampled = await t5.generate(prompt, { ...options, do_sample: true, seed: SEED });

  const gateway = running.at(-1) as RunningWorker;
  const watches = await Promise.all(running.map(({ inspectorPort }) => HeapWatch.connect(inspectorPort)));
  for (const watch of watches) watch.start();
  const body = { model: "base", prompt, max_tokens: NEW_TOKENS, suppress_tokens: [1] };
  const idle = await Promise.all(watches.map((watch) => watch.usage().catch(() => 0)));
  say(`heaps before loading, MB: ${idle.map((bytes) => (bytes / 1e6).toFixed(1)).join(", ")}`);
  const first = await complete(gateway.url, key, body);
  const second = await complete(gateway.url, key, { ...body, temperature: 1, seed: SEED });
  const heapBytes = await Promise.all(watches.map((watch) => watch.stop()));
  for (const watch of watches) watch.close();
  const { encoder, decoder } = (await (
    await fetch(`${gateway.url}/healthz`, { headers: { authorization: `Bearer ${adminToken}` } })
  ).json()) as Record<string, Health>;
  return {
    wasmBytes: [...wasmBytesOf(encoder), ...wasmBytesOf(decoder)],
    heapBytes,
    summary: {
      prompt: greedy.inputIds.length,
      tokens: first.tokens,
      greedy: first.text === greedy.text && first.tokens === greedy.ids.length,
      sampled: second.text === sampled.text,
      ms: second.ms / second.tokens,
    },
  };
}

/** The chain's memories, first layers first, as its Workers were started. */
function wasmBytesOf(health: Health | undefined): number[] {
  if (!health) return [];
  return [...wasmBytesOf(health.upstream), Object.values(health.models)[0]?.wasm_bytes ?? 0];
}

async function complete(url: string, key: string, body: object): Promise<{ text: string; tokens: number; ms: number }> {
  const started = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as {
    choices?: { text: string }[];
    usage?: { completion_tokens: number };
    error?: { message: string };
  };
  if (!answer.choices) throw new Error(answer.error?.message ?? `status ${response.status}`);
  return {
    text: answer.choices[0]?.text ?? "",
    tokens: answer.usage?.completion_tokens ?? 0,
    ms: performance.now() - started,
  };
}
