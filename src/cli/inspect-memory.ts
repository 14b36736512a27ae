/** `edge-t5 inspect DIR --memory`: what each isolate of a deployment will hold, from the manifest alone. */
import { fileURLToPath } from "node:url";
import type { EngineName, MemoryReport, ReportedUse, Streams } from "../engines/memory.ts";
import { EdgeT5Error } from "../errors.ts";
import { memoryOf, planDeployment } from "../local/deployment.ts";
import { PACKAGE_ROOT } from "../package-root.ts";
import type { EngineLimits } from "../t5/engine.ts";
import type { Manifest } from "../t5/manifest.ts";
import { formatTable } from "./output.ts";

/** What Cloudflare gives an isolate, for its JavaScript heap, WASM memory and buffers together. */
const ISOLATE_BYTES = 128e6;

const LABELS: Record<ReportedUse, string> = {
  weights: "weights",
  rowSums: "row sums",
  scratch: "scratch",
  biasTables: "bias tables",
  buffers: "buffers of an encode or a step",
  runtime: "onnxruntime itself",
  crossCaches: "streams: cross-attention caches",
  ownCaches: "streams: own caches",
  logits: "streams: logits",
  free: "free",
};

export interface DeploymentMemory {
  name: string;
  engine: EngineName;
  limits: EngineLimits;
  streams: Streams;
  /** How many streams of that size every Worker has room for at once. */
  fit: number;
  isolateBytes: number;
  workers: ({ name: string; holds: string } & MemoryReport)[];
}

/**
 * @param wanted streams; without their lengths, the longest that the deployment takes
 * @throws EdgeT5Error `E_CAPACITY`, `E_USAGE` when the Workers cannot hold the package, or take no stream of that size
 */
export async function deploymentMemory(
  manifest: Manifest,
  options: { engine: EngineName; oneWorker: boolean },
  wanted: { count: number; promptTokens?: number | undefined; newTokens?: number | undefined },
): Promise<DeploymentMemory> {
  const { engine } = options;
  const { workers, limits } = await planDeployment(manifest, { ...options, root: fileURLToPath(PACKAGE_ROOT) });
  const { maxInputTokens, maxNewTokens } = limits;
  const { count, promptTokens = maxInputTokens, newTokens = maxNewTokens } = wanted;
  if (promptTokens > maxInputTokens || newTokens > maxNewTokens) {
    throw new EdgeT5Error(
      "E_USAGE",
      `A stream of ${promptTokens} + ${newTokens} tokens is longer than these Workers take: ${maxInputTokens} + ` +
        `${maxNewTokens}. Ask for a shorter one.`,
    );
  }
  const streams = { count, promptTokens, newTokens };
  const reports = workers.flatMap((worker) => {
    const memory = memoryOf(worker, engine, limits, streams);
    return memory ? [{ name: worker.name, holds: worker.holds, ...memory }] : [];
  });
  const fit = Math.min(...reports.map((report) => report.fit ?? Number.POSITIVE_INFINITY));
  return { name: manifest.name, engine, limits, streams, fit, isolateBytes: ISOLATE_BYTES, workers: reports };
}

export function printMemory({ name, engine, limits, streams, fit, isolateBytes, workers }: DeploymentMemory): void {
  const { count, promptTokens, newTokens } = streams;
  const size = `${promptTokens} + ${newTokens} tokens`;
  console.log(
    `${name} on the ${engine} engine, with ${count} ${count === 1 ? "stream" : "streams"} of ${size}; MB` +
      `${engine === "onnx" ? ", an estimate" : ""}\n`,
  );
  const used = (Object.keys(LABELS) as ReportedUse[]).filter((use) =>
    workers.some(({ uses }) => uses.some((each) => each.use === use && each.bytes > 0)),
  );
  const cells = (bytesOf: (worker: DeploymentMemory["workers"][number]) => number) =>
    workers.map((worker) => (bytesOf(worker) / 1e6).toFixed(2).padStart(worker.name.length));
  const rows = [
    ...used.map((use) => [LABELS[use], ...cells(({ uses }) => uses.find((each) => each.use === use)?.bytes ?? 0)]),
    [engine === "simd" ? "WASM memory" : "sum", ...cells(({ bytes }) => bytes)],
    ["MAX_WASM_BYTES", ...cells(() => limits.memoryBytes ?? 0)],
    [`left of ${isolateBytes / 1e6} MB`, ...cells(({ bytes }) => isolateBytes - bytes)],
  ];
  console.log(formatTable(["", ...workers.map((worker) => worker.name)], rows));
  console.log(`\n${workers.map((worker) => `${worker.name} holds ${worker.holds}.`).join(" ")}`);
  console.log(fit < count ? `Of ${size} only ${fit} fit at once: the others wait.` : `Of ${size}, ${fit} fit at once.`);
}
