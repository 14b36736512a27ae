/** The origin: a Node process beside a gateway that does jobs, and answers what is too heavy for the edge. `edge-t5 origin` starts it. */
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { simdEngine } from "../../src/engines/simd/index.ts";
import { BatchModels } from "../../src/jobs/batch/models.ts";
import { batchRunner } from "../../src/jobs/batch/runner.ts";
import { fineTuningRunner } from "../../src/jobs/fine-tuning/runner.ts";
import { GatewayClient } from "../../src/jobs/origin/gateway-client.ts";
import { Origin, type OriginOptions } from "../../src/jobs/origin/origin.ts";
import { BucketStorage, GatewayStorage } from "../../src/jobs/origin/storage.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { gatewayObjects } from "../../src/placement/origin/gateway-objects.ts";
import { OriginModels } from "../../src/placement/origin/models.ts";
import { ObjectCache } from "../../src/placement/origin/object-cache.ts";
import { type S3Options, S3Store } from "../../src/store/s3.ts";
import type { EngineLimits, EngineLoader } from "../../src/t5/engine.ts";
import { originApp } from "./app.ts";

export interface OriginSettings extends Pick<OriginOptions, "leaseSeconds" | "pollMs" | "log"> {
  /** The gateway's address. */
  gateway: string;
  /** ORIGIN_SECRET. */
  secret: string;
  host: string;
  /** 0: any that is free. */
  port: number;
  /** The bucket, where the origin reaches it by itself. */
  s3?: S3Options | undefined;
  /** Answers: on which engine, how long, and where models are kept. */
  engine: "simd" | "onnx";
  limits: EngineLimits;
  cache: string;
  /** What that folder may hold. */
  cacheBytes: number;
}

export interface RunningOrigin {
  /** Where the gateway tells it of jobs: its ORIGIN_URL. */
  url: string;
  /** Gives back what runs. */
  stop(): Promise<void>;
}

/** Begins to listen, and to do jobs. @throws the operating system's error for a port that is taken */
export async function startOrigin(settings: OriginSettings): Promise<RunningOrigin> {
  const { gateway, secret, host, port, s3, leaseSeconds, pollMs, log } = settings;
  const started = Date.now();
  const client = new GatewayClient(gateway, secret);
  const bucket = s3 && new S3Store(s3);
  const simd = simdEngine(await loadKernels());
  const models = new BatchModels(simd);
  const served = new OriginModels({
    objects: new ObjectCache(bucket ?? gatewayObjects(client), settings.cache, settings.cacheBytes),
    load: settings.engine === "onnx" ? await onnxNative() : simd,
    loadForAdapters: simd,
    limits: settings.limits,
  });
  const origin = new Origin({
    client,
    runners: { batch: batchRunner(models), fine_tuning: fineTuningRunner },
    storageOf: (job, scratch, signal) =>
      bucket ? new BucketStorage(bucket, job, scratch, signal) : new GatewayStorage(client, job, scratch, signal),
    ...{ leaseSeconds, pollMs, log },
  });
  const app = originApp(origin, served, secret, started);
  const server = serve({ fetch: app.fetch, hostname: host, port });
  const address = await new Promise<AddressInfo>((resolve, reject) => {
    server.once("error", reject).once("listening", () => resolve(server.address() as AddressInfo));
  });
  origin.start();
  return {
    url: `http://${host}:${address.port}`,
    async stop() {
      await origin.stop();
      server.close();
      if ("closeAllConnections" in server) server.closeAllConnections();
    },
  };
}

/** Loaded where it is asked for: it is large. */
async function onnxNative(): Promise<EngineLoader> {
  const [{ onnxEngine }, { nativeRuntime }] = await Promise.all([
    import("../../src/engines/onnx/index.ts"),
    import("../../src/engines/onnx/node.ts"),
  ]);
  return onnxEngine(await nativeRuntime());
}
