/** Several texts through one model, side by side: what all of them ask of it next goes as one list. */
import { EdgeT5Error } from "../../../errors.ts";
import type { LongGenerateOptions, LongModel, LongPiece } from "./model.ts";

/** What is told of one of the texts. */
export interface OfText<T> {
  readonly index: number;
  readonly value: T;
}

/**
 * Runs all texts until each waits for the model or has ended; then the model answers what they asked, a list for each
 * number of new tokens. What is told of a text keeps its order.
 *
 * @param texts each is given the model as it sees it: `generate` is one of its own, the rest is the model's
 */
export async function* together<T>(
  model: LongModel,
  texts: readonly ((model: LongModel) => AsyncIterable<T>)[],
  { signal }: Pick<LongGenerateOptions, "signal"> = {},
): AsyncGenerator<OfText<T>, void, undefined> {
  const crew = new Crew();
  const told: OfText<T>[] = [];
  const lanes = texts.map((text, index) => {
    const lane = new Lane(crew);
    crew.run(async () => {
      for await (const value of text(lane.modelOf(model))) told.push({ index, value });
    });
    return lane;
  });
  await crew.rest();
  yield* told.splice(0);
  for (;;) {
    const lists = listsOf(lanes);
    if (lists.length === 0) break;
    for (const { maxNewTokens, asks } of lists) {
      const prompts = asks.flatMap((ask) => ask.prompts);
      const owners = asks.flatMap(({ lane, prompts }) => prompts.map((_, index) => ({ lane, index })));
      for await (const piece of model.generate(prompts, { maxNewTokens, signal })) {
        const owner = owners[piece.index];
        if (!owner)
          throw new EdgeT5Error("E_INTERNAL", `The model answered prompt ${piece.index}, which there is not.`);
        owner.lane.give({ ...piece, index: owner.index });
        await crew.rest();
        yield* told.splice(0);
      }
    }
  }
  if (crew.open > 0) throw new EdgeT5Error("E_INTERNAL", `The model left ${crew.open} texts without their answers.`);
}

/** Who runs: all of them are at rest when each waits for the model or has ended. */
class Crew {
  /** Texts that have not ended. */
  open = 0;
  #busy = 0;
  #failure: { error: unknown } | null = null;
  #onRest: (() => void) | null = null;

  run(text: () => Promise<void>): void {
    this.open++;
    this.#busy++;
    text()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.open--;
        this.leave();
      });
  }

  enter(): void {
    this.#busy++;
  }

  leave(): void {
    this.#busy--;
    if (this.#busy === 0) this.#onRest?.();
  }

  /** @throws what one of the texts threw */
  async rest(): Promise<void> {
    if (this.#busy > 0) {
      await new Promise<void>((resolve) => {
        this.#onRest = resolve;
      });
    }
    if (this.#failure) throw this.#failure.error;
  }
}

interface Ask {
  lane: Lane;
  prompts: readonly string[];
  maxNewTokens: number;
}

/** One text's way to the model. */
class Lane {
  /** What it asks for next; null while it needs nothing. */
  ask: Ask | null = null;
  readonly #crew: Crew;
  readonly #pieces: LongPiece[] = [];
  #wake: (() => void) | null = null;

  constructor(crew: Crew) {
    this.#crew = crew;
  }

  modelOf(model: LongModel): LongModel {
    const { maxInputTokens, maxNewTokens } = model;
    return {
      ...{ maxInputTokens, maxNewTokens },
      count: (text) => model.count(text),
      generate: (prompts, options) => this.#generate(prompts, options.maxNewTokens ?? maxNewTokens),
      score: (prompts, labels, options) => model.score(prompts, labels, options),
    };
  }

  give(piece: LongPiece): void {
    this.#pieces.push(piece);
    if (!this.#wake) return;
    this.#crew.enter();
    this.#wake();
    this.#wake = null;
  }

  async *#generate(prompts: readonly string[], maxNewTokens: number): AsyncGenerator<LongPiece, void, undefined> {
    let open = prompts.length;
    if (open > 0) this.ask = { lane: this, prompts, maxNewTokens };
    while (open > 0) {
      const piece = this.#pieces.shift();
      if (piece) {
        if (piece.finishReason !== null) open--;
        yield piece;
      } else {
        const woken = new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#crew.leave();
        await woken;
      }
    }
  }
}

/**
 * What the lanes ask for, which is theirs no more: those of as many new tokens are one list, who asks for least first, so
 * that a short text does not wait for a long one.
 */
function listsOf(lanes: readonly Lane[]): { maxNewTokens: number; asks: Ask[] }[] {
  const asks = lanes.flatMap(({ ask }) => ask ?? []).sort((a, b) => a.prompts.length - b.prompts.length);
  const lists = new Map<number, Ask[]>();
  for (const ask of asks) {
    ask.lane.ask = null;
    lists.set(ask.maxNewTokens, [...(lists.get(ask.maxNewTokens) ?? []), ask]);
  }
  return [...lists].map(([maxNewTokens, own]) => ({ maxNewTokens, asks: own }));
}
