/** The benches' package: T5-small's shape with seeded random weights, and T5's tokenizer. */
import { copyFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { splitCheckpoint } from "../../model-split/index.ts";
import { localSecrets, writeDevVars } from "../../src/local/secrets.ts";
import { migrateLocal } from "../../src/local/storage.ts";
import { T5_SMALL, writeRandomCheckpoint } from "./checkpoint.ts";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** The model's name in the bucket. */
export const BENCH = "bench";

const SPIECE = fileURLToPath(new URL("../fixtures/t5-tokenizer/spiece.model", import.meta.url));

/**
 * @param reluShift as of `writeRandomCheckpoint`
 * @returns the package's folder, below `work`
 */
export async function makeBenchPackage(work: string, reluShift = 0): Promise<string> {
  const checkpoint = join(work, "checkpoint");
  const dir = join(work, "package");
  await writeRandomCheckpoint(checkpoint, T5_SMALL, 1, reluShift);
  await copyFile(SPIECE, join(checkpoint, "spiece.model"));
  await splitCheckpoint(checkpoint, dir, { name: BENCH });
  await rm(checkpoint, { recursive: true });
  return dir;
}

/** What the gateway needs beside the package: secrets and its database. @param workers from `writeWorkers` */
export async function prepareGateway(workers: readonly { path: string }[], state: string): Promise<void> {
  const secrets = await localSecrets(state);
  for (const folder of new Set(workers.map(({ path }) => dirname(path)))) await writeDevVars(folder, secrets);
  await migrateLocal(ROOT, state);
}
