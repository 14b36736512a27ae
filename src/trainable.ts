/** T5 where there is a file system: it loads checkpoints too, learns, and is saved. What trains is loaded when it is asked for. */
import { rmSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { EdgeT5Error } from "./errors.ts";
import type { MetricName } from "./evaluation/metrics.ts";
import { defaultPackage, type LoadOptions, loadParts, T5 as Pretrained } from "./from-pretrained.ts";
import { FolderStore } from "./store/folder.ts";
import type { Store } from "./store/store.ts";
import { ADAPTER_CONFIG, readAdapter } from "./t5/adapter.ts";
import type { TextToTextParts } from "./t5/model.ts";
import type { DataSettings, RunEvent, RunRequest, TaskSettings, TrainingRequest } from "./training/run/index.ts";

export type { RunEvent } from "./training/run/index.ts";

/** A row to train on. */
export interface TrainingPair {
  input: string;
  target: string;
}

/** A file of rows (JSON lines, CSV or TSV; `.gz` may follow), several, or the rows themselves. */
export type PairsSource = string | readonly string[] | Iterable<TrainingPair> | AsyncIterable<TrainingPair>;

interface LearnOptions extends TrainingRequest {
  /** Folder of the run: settings, metrics, plot, checkpoints. Default: a temporary one, which goes with the process. */
  run?: string | undefined;
  /** Go on with the run in that folder: its own data and settings hold. Default: false. */
  resume?: boolean | undefined;
  /** Share that is held out to measure by, where no files are for it. Default: 0.05 of pairs, 0.01 of a corpus. */
  holdOut?: number | undefined;
  /** @param what is read @param done bytes of `total` */
  onProgress?: ((what: string, done: number, total: number) => void) | undefined;
  /** Stops after the step that runs, writes a checkpoint, and throws its reason. */
  signal?: AbortSignal | undefined;
}

export interface FitOptions extends LearnOptions {
  /** Rows to measure by. */
  valid?: string | readonly string[] | undefined;
  /** Makes the input of a row's fields. Default: `{input}`. */
  template?: string | undefined;
  /** Columns of fields that are called otherwise: `{ input: "body" }`. */
  columns?: Readonly<Record<string, string>> | undefined;
  /** Column of the target. */
  target?: string | undefined;
  /** The only targets that there may be. */
  labels?: readonly string[] | undefined;
  /** Most characters of a field. */
  cut?: Readonly<Record<string, number>> | undefined;
  /** Keep the checkpoint whose answers are best by this. Default: by the loss. */
  metric?: MetricName | undefined;
  /** Default: 512 and 256. */
  maxInputTokens?: number | undefined;
  maxTargetTokens?: number | undefined;
  /** Cut what is longer, in place of refusing it. */
  truncate?: boolean | undefined;
}

export interface PretrainOptions extends LearnOptions {
  /** Of JSON lines: the fields that hold texts. Default: all texts. */
  fields?: readonly string[] | undefined;
  /** What is taken away. Default: T5's span corruption. */
  denoiser?: "span-corruption" | "prefix-lm" | "ul2" | undefined;
  /** Length that texts are packed to. Default: 512. */
  maxInputTokens?: number | undefined;
}

/** What was trained: its checkpoint, the model that an adapter is for, and what is called so. */
interface Learned {
  checkpoint: string;
  /** Null for a whole model. */
  adapterOf: string | null;
}

export class T5 extends Pretrained {
  /** Where its weights are from: a checkpoint's folder, or a package. */
  #base: string | Store;
  readonly #options: LoadOptions;
  #learned: Learned | null = null;

  private constructor(parts: TextToTextParts, base: string | Store, options: LoadOptions) {
    super(parts);
    this.#base = base;
    this.#options = options;
  }

  /**
   * Loads a package that `edge-t5 split` wrote, or a checkpoint of Hugging Face's (in float32).
   *
   * @param source the folder of either, a package's address (`https://…`), or a store that holds one; the packaged
   * default model when left out
   * @throws EdgeT5Error `E_PACKAGE_NOT_FOUND`, `E_MANIFEST`, `E_MANIFEST_VERSION`, `E_BLOB_MISSING`, `E_BLOB_CORRUPT`,
   * `E_TOKENIZER`, `E_CAPACITY`; of a checkpoint as `splitCheckpoint`
   */
  static override async fromPretrained(source?: string | URL | Store, options: LoadOptions = {}): Promise<T5> {
    const given = source ?? defaultPackage();
    if (typeof given !== "string" && !(given instanceof URL)) {
      return new T5(await loadParts(given, options), given, options);
    }
    const address = String(given);
    const path = address.startsWith("file:") ? fileURLToPath(address) : address;
    const parts = (await isCheckpoint(path)) ? await loadCheckpoint(path, options) : await loadParts(path, options);
    return new T5(parts, path, options);
  }

  /**
   * Fine-tunes the model, or with `lora` an adapter beside it. It has learned when the iteration has come to its end: then
   * {@link generate} answers with the best checkpoint, or the last one where nothing was measured.
   *
   * @throws EdgeT5Error `E_DATA_*` naming file, line and reason before any training; `E_DIVERGED`, `E_INPUT`, `E_BUSY`,
   * `E_IO`, `E_PROVIDER`; the signal's reason
   */
  fit(pairs: PairsSource, options: FitOptions = {}): AsyncGenerator<RunEvent, void, undefined> {
    const { valid = [], template, columns, target, labels, cut, metric, ...rest } = options;
    const { maxInputTokens = 512, maxTargetTokens = 256, truncate = false, holdOut = 0.05, ...learning } = rest;
    const task = {
      ...{ name: "task", valid: pathsOf(valid), template, target, metric },
      ...(columns && { columns: { ...columns } }),
      ...(cut && { cut: { ...cut } }),
      ...(labels && { labels: [...labels] }),
    };
    return this.#learn("fit", learning, async (dir) => {
      const train = await filesOf(pairs, dir);
      const tasks: TaskSettings[] = [{ ...task, train }];
      return { kind: "pairs", tasks, maxInputTokens, maxTargetTokens, truncate, holdOut };
    });
  }

  /**
   * Pretrains the model on texts. As {@link fit} it has learned when the iteration has come to its end.
   *
   * @param corpus files: text (a document a line), TSV, CSV or JSON lines; `.gz` may follow
   * @throws EdgeT5Error as {@link fit}
   */
  train(corpus: string | readonly string[], options: PretrainOptions = {}): AsyncGenerator<RunEvent, void, undefined> {
    const { fields, denoiser = "span-corruption", maxInputTokens = 512, holdOut = 0.01, ...learning } = options;
    const data = {
      ...{ kind: "corpus" as const, files: pathsOf(corpus), denoiser, maxInputTokens, holdOut },
      ...(fields && { fields: [...fields] }),
    };
    return this.#learn("train", learning, async () => data);
  }

  /**
   * Writes the model in Hugging Face's layout: `config.json`, `model.safetensors` in float32, the tokenizer; after a
   * {@link fit} with `lora` the adapter alone, in PEFT's. Files of these names that are there are replaced.
   *
   * @throws the operating system's errors; EdgeT5Error `E_INPUT` for a package of int4
   */
  async save(dir: string): Promise<void> {
    await mkdir(dir, { recursive: true });
    if (this.#learned) {
      await copyFiles(this.#learned.checkpoint, dir);
      if (this.#learned.adapterOf !== null) await nameBase(join(dir, ADAPTER_CONFIG), this.#learned.adapterOf);
      return;
    }
    if (typeof this.#base === "string" && (await isCheckpoint(this.#base))) return copyFiles(this.#base, dir);
    const [{ dequantize }, { readManifest }] = await Promise.all([
      import("../model-split/dequantize.ts"),
      import("./t5/manifest.ts"),
    ]);
    const store = typeof this.#base === "string" ? new FolderStore(this.#base) : this.#base;
    const temporary = await mkdtemp(join(tmpdir(), "edge-t5-save-"));
    try {
      await dequantize(await readManifest(store), store, temporary);
      await copyFiles(temporary, dir);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }

  async *#learn(
    kind: RunRequest["kind"],
    { run = temporaryRun(), resume = false, onProgress, signal, ...training }: LearnOptions,
    data: (dir: string) => Promise<DataSettings>,
  ): AsyncGenerator<RunEvent, void, undefined> {
    const { resumeRun, startRun, readRunFile } = await import("./training/run/index.ts");
    const context = { onProgress, signal };
    const from = this.#base;
    const given = typeof from === "string" ? from : undefined;
    const events = resume
      ? resumeRun(run, { ...context, base: given })
      : startRun({ run, kind, base: { from }, data, training }, context);
    for await (const event of events) {
      if (event.type === "end") {
        const settings = await readRunFile(resolve(run));
        const isAdapter = settings.training.lora !== null;
        await this.#become(event.best?.path ?? event.path, isAdapter ? settings.base.source : null);
      }
      yield event;
    }
  }

  /** Answers with what was trained from now on. */
  async #become(checkpoint: string, adapterOf: string | null): Promise<void> {
    if (adapterOf === null) {
      this.become(await loadCheckpoint(checkpoint, this.#options));
      this.#base = checkpoint;
    } else {
      this.become({}, await this.loadAdapter(await readAdapter(new FolderStore(checkpoint))));
    }
    this.#learned = { checkpoint, adapterOf };
  }
}

async function isCheckpoint(path: string): Promise<boolean> {
  const has = async (name: string) => (await stat(join(path, name)).catch(() => null)) !== null;
  return !/^https?:\/\//.test(path) && (await has("config.json")) && !(await has("manifest.json"));
}

/** In float32, as it was trained. */
async function loadCheckpoint(path: string, options: LoadOptions): Promise<TextToTextParts> {
  const { splitCheckpoint } = await import("../model-split/split.ts");
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-checkpoint-"));
  try {
    await splitCheckpoint(path, dir, {
      bits: 32,
      name: "checkpoint",
      ...(options.signal && { signal: options.signal }),
    });
    return await loadParts(new FolderStore(dir), options);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** What a trainer goes on from, and nobody else reads. */
const TRAINERS = ["optimizer.safetensors", "trainer_state.json"];
const MODEL_FILE = /\.(json|safetensors|model)$/;

async function copyFiles(from: string, to: string): Promise<void> {
  for (const name of await readdir(from)) {
    if (MODEL_FILE.test(name) && !TRAINERS.includes(name)) await copyFile(join(from, name), join(to, name));
  }
}

/** An adapter names the model that it is for as its user does, not a run's copy of it. */
async function nameBase(path: string, base: string): Promise<void> {
  const config = JSON.parse(await readFile(path, "utf8")) as object;
  await writeFile(path, `${JSON.stringify({ ...config, base_model_name_or_path: base }, null, 2)}\n`);
}

const temporaryRuns = new Set<string>();

/** A folder for a run that nobody named. */
function temporaryRun(): string {
  if (temporaryRuns.size === 0) {
    process.once("exit", () => {
      for (const run of temporaryRuns) rmSync(run, { recursive: true, force: true });
    });
  }
  const run = join(tmpdir(), `edge-t5-run-${crypto.randomUUID()}`);
  temporaryRuns.add(run);
  return run;
}

function pathsOf(files: string | readonly string[]): string[] {
  return [files].flat().map((file) => resolve(file));
}

/** Files as they are; rows are written into one, once. @throws EdgeT5Error `E_INPUT` for what is no row */
async function filesOf(pairs: PairsSource, dir: string): Promise<string[]> {
  if (typeof pairs === "string") return pathsOf(pairs);
  if (Array.isArray(pairs) && pairs.length > 0 && pairs.every((each) => typeof each === "string"))
    return pathsOf(pairs);
  await mkdir(dir, { recursive: true });
  const path = join(dir, "pairs.jsonl");
  const file = await open(path, "w");
  try {
    let number = 0;
    for await (const row of pairs as AsyncIterable<TrainingPair>) {
      number++;
      if (typeof row?.input !== "string" || typeof row.target !== "string") {
        throw new EdgeT5Error("E_INPUT", `Pair ${number} has no input or no target. Give texts: { input, target }.`);
      }
      await file.appendFile(`${JSON.stringify({ input: row.input, target: row.target })}\n`);
    }
  } finally {
    await file.close();
  }
  return [path];
}
