/** What a training thread does when it is asked: it holds the weights, so it reads and writes checkpoints too. */
import { EdgeT5Error } from "../errors.ts";
import type { Batch } from "./batch.ts";
import {
  dropoutRate,
  latestCheckpoint,
  loadModel,
  newAdapter,
  readCheckpoint,
  type TrainerState,
  writeCheckpoint,
} from "./checkpoint.ts";
import { Learner, type LearnerOptions, type Losses, type Update } from "./learner.ts";
import type { Provider } from "./session.ts";

export interface OpenRequest {
  /** A Hugging Face directory: where the run begins. */
  base: string;
  /** The run's checkpoints: where it goes on, if there are any. */
  run: string | null;
  learner: Omit<LearnerOptions, "tiedHead" | "dropout"> & { dropout?: number | "config" | undefined };
  seed: number;
}

export interface Opened {
  provider: Provider;
  /** Numbers that are trained. */
  parameters: number;
  /** Where the run goes on, null at its start. */
  resumed: { path: string; state: TrainerState } | null;
  padTokenId: number;
  decoderStartTokenId: number;
  vocabSize: number;
}

export interface StepRequest extends Update {
  batches: readonly Batch[];
}

export type StepResult = Losses & { gradientNorm: number };

export class Host {
  #learner: Learner | null = null;
  #open: OpenRequest | null = null;

  async open(request: OpenRequest): Promise<Opened> {
    const { base, run, learner: options, seed } = request;
    const { config, tiedHead, weights } = await loadModel(base);
    const dropout = options.dropout === "config" ? await dropoutRate(base) : options.dropout;
    if (options.lora) for (const [name, values] of newAdapter(config, options.lora, seed)) weights.set(name, values);
    const resumed = run === null ? null : await latestCheckpoint(run);
    const learner = await Learner.open(config, weights, { ...options, dropout, tiedHead, seed });
    if (resumed) await resume(learner, resumed, options.lora !== undefined);
    this.#learner = learner;
    this.#open = request;
    const { padTokenId, decoderStartTokenId, vocabSize } = config;
    let parameters = 0;
    for (const { values } of learner.trained.values()) parameters += values.length;
    return { provider: learner.provider, parameters, resumed, padTokenId, decoderStartTokenId, vocabSize };
  }

  async step({ batches, ...update }: StepRequest): Promise<StepResult> {
    const { learner } = this.#opened();
    for (const batch of batches) await learner.accumulate(batch);
    return learner.update(update);
  }

  /** The mean losses of batches, without learning from them. */
  async evaluate(batches: readonly Batch[]): Promise<Losses> {
    const { learner } = this.#opened();
    return learner.evaluate(batches);
  }

  /** @returns the checkpoint's folder */
  async save({ run, keep, state }: { run: string; keep: number; state: TrainerState }): Promise<string> {
    const { learner, open } = this.#opened();
    const { trained } = learner;
    const contents = { base: open.base, trained, optimizer: learner.optimizerState, lora: open.learner.lora, state };
    return writeCheckpoint(run, contents, keep);
  }

  async close(): Promise<void> {
    await this.#learner?.close();
    this.#learner = null;
  }

  #opened(): { learner: Learner; open: OpenRequest } {
    if (!this.#learner || !this.#open) throw new EdgeT5Error("E_INTERNAL", "The learner is not open.");
    return { learner: this.#learner, open: this.#open };
  }
}

async function resume(learner: Learner, { path, state }: { path: string; state: TrainerState }, lora: boolean) {
  const { trained, optimizer } = await readCheckpoint(path, lora);
  for (const [name, { values }] of learner.trained) {
    const kept = trained.get(name);
    if (kept?.length !== values.length) {
      throw new EdgeT5Error(
        "E_INPUT",
        `${path} is not of this run: its ${name} differs. Resume with the run's own settings.`,
      );
    }
    values.set(kept);
  }
  learner.restore(state.step, optimizer);
}
