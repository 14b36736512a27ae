/**
 * `npm run bench:onnx [-- --json]`: both halves of T5-small's shape at int8 on onnxruntime-web in workerd: memory at the
 * peak of loading, a token step, an encode.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { splitCheckpoint } from "../../model-split/index.ts";
import { formatTable } from "../../src/cli/output.ts";
import { writeRandomCheckpoint } from "./checkpoint.ts";
import { get, inWorkerd, measureLoad } from "./workerd-run.ts";

const CONFIG = fileURLToPath(new URL("./workerd/onnx.wrangler.toml", import.meta.url));
const ROUNDS = 9;
const STEPS = 16;

const work = await mkdtemp(join(tmpdir(), "edge-t5-bench-"));
try {
  await writeRandomCheckpoint(join(work, "checkpoint"));
  await splitCheckpoint(join(work, "checkpoint"), join(work, "package"), { name: "bench" });
  const results = [];
  for (const half of ["encoder", "decoder"]) {
    const result = await inWorkerd(CONFIG, join(work, "package"), join(work, half), async (url, inspectorPort) => {
      const memory = await measureLoad(url, inspectorPort, `half=${half}`);
      const run = (operation: string) => get(`${url}/run?operation=${operation}`);
      const times: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        if (half === "decoder") await run("prepare");
        const started = performance.now();
        await run(half === "decoder" ? "steps" : "encode");
        times.push((performance.now() - started) / (half === "decoder" ? STEPS : 1));
      }
      const used = await get<number>(`${url}/run?operation=nothing`);
      return { half, ...memory, ms: times.sort((a, b) => a - b)[ROUNDS >> 1] ?? 0, wasm_used_mb: used / 1e6 };
    });
    results.push(result);
  }
  if (process.argv.includes("--json")) console.log(JSON.stringify({ figures: results }));
  else {
    console.log(
      formatTable(
        [
          "HALF",
          "LOAD, MS",
          "WASM, MB",
          "WASM + JS AT THE PEAK OF LOADING, MB",
          "WASM AFTER RUNNING, MB",
          "STEP OR ENCODE(128), MS",
        ],
        results.map(({ half, load_ms, wasm_mb, peak_load_mb, wasm_used_mb, ms }) => [
          half,
          ...[load_ms, wasm_mb, peak_load_mb, wasm_used_mb, ms].map((value) => value.toFixed(1)),
        ]),
      ),
    );
  }
} finally {
  await rm(work, { recursive: true, force: true });
}
