/** What of the bucket a job may read and write: its files, the models and adapters that it names, and a folder of its own. */
import { modelKey, versionKey } from "../store/r2.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../t5/adapter.ts";
import { MANIFEST_KEY } from "../t5/manifest.ts";
import type { BatchSpec } from "./batch/spec.ts";
import type { FineTuningSpec } from "./fine-tuning/spec.ts";
import type { JobKind } from "./job.ts";

/** The parts of a job that say what it reads. */
export interface Reader {
  id: string;
  tenant: string;
  kind: JobKind;
  spec: unknown;
}

interface Inputs {
  files: { id: string; key: string }[];
  /** `NAME@VERSION` */
  models: string[];
  adapters: { name: string; key: string }[];
}

function inputsOf({ kind, spec }: Reader): Inputs {
  if (kind === "batch") {
    const { input, targets } = spec as BatchSpec;
    const all = Object.values(targets);
    return {
      files: [input],
      models: all.map(({ model }) => model),
      adapters: all.flatMap(({ adapter }) => adapter ?? []),
    };
  }
  const { model, training, validation } = spec as FineTuningSpec;
  return { files: [training, ...(validation ? [validation] : [])], models: [model], adapters: [] };
}

/**
 * Where an input lies in the bucket.
 *
 * @param path `files/ID`, `models/NAME@VERSION/manifest.json`, `models/NAME@VERSION/blobs/SHA256`, `adapters/NAME/FILE`
 * @returns null for what the job does not name
 */
export function inputKey(job: Reader, path: string): string | null {
  const { files, models, adapters } = inputsOf(job);
  const [kind, name = "", ...rest] = path.split("/");
  const key = rest.join("/");
  if (kind === "files" && key === "") return files.find(({ id }) => id === name)?.key ?? null;
  if (kind === "adapters" && (key === ADAPTER_CONFIG || key === ADAPTER_TENSORS)) {
    const adapter = adapters.find((each) => each.name === name);
    return adapter ? `${adapter.key}/${key}` : null;
  }
  if (kind === "models" && models.includes(name)) {
    const [model = "", version = ""] = name.split("@");
    if (key === MANIFEST_KEY) return modelKey(model, versionKey(version, key));
    if (/^blobs\/[0-9a-f]{64}$/.test(key)) return modelKey(model, key);
  }
  return null;
}

/**
 * Where a job's artifact lies. Each lease writes below its own number: what an origin that lost it still writes lies where
 * nobody reads.
 *
 * @param artifact `LEASE/NAME`
 */
export function artifactKey({ tenant, id }: Pick<Reader, "tenant" | "id">, artifact: string): string {
  return `tenants/${tenant}/jobs/${id}/${artifact}`;
}
