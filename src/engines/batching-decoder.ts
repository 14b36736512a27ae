/**
 * One decoder for all requests of an isolate: rows of requests that decode at the same time go through the weights in one
 * pass. A request joins with its next step and leaves by closing its sequences; one that does not ask for a step (its
 * client reads slowly, or is gone) is not waited for.
 *
 * workerd ties timers and streams to the request that made them, and who awaits what another request does may hang, or go
 * on in that other request. So nobody awaits anything here but a timer of its own. Whose rows still wait when it fires
 * makes the pass, for all rows that wait; the others find their outcome when their own timers fire.
 */
import { EdgeT5Error } from "../errors.ts";
import { eventLoopTurn } from "../event-loop.ts";
import type { Decoder, DecoderInput, Encoder, Engine, Pause, Role, Sequence, StepOutput } from "../t5/engine.ts";
import { innerDim } from "./cache-size.ts";
import { FairEncoder } from "./fair-encoder.ts";
import { checkedHidden, checkedId } from "./input.ts";
import { Owners } from "./owners.ts";
import { CROWD_TURNS, sliceOf } from "./pace.ts";

/** One request's step. */
interface Job {
  owner: string;
  sequences: readonly Sequence[];
  tokens: readonly number[];
  /** Hidden states `[sequences, dModel]` of the layers before, if any. */
  before: Float32Array | null;
  /** Gives what came of it, or throws; null until it was made. */
  outcome: (() => StepOutput) | null;
}

interface Pass {
  jobs: readonly Job[];
  started: number;
}

/**
 * Multiply-adds between two turns of the event loop, about ten milliseconds' worth: so long other requests wait to be
 * seen. They are counted since a Worker's clock stands still while it computes.
 */
const WORK_A_TURN = 300e6;

/**
 * Multiply-adds of a pass from which on it is worth a turn of the event loop to have the rows of all who decode in it: a
 * shared row costs about two thirds of one that goes alone (`npm run bench -- --only streams`). Of T5-small three rows;
 * smaller models go faster one by one.
 */
const WORTH_A_TURN = 80e6;

/** Multiply-adds of one pass of crowds: two rows of T5-small. */
const CROWD_WORK = 80e6;

/** A pass takes a fraction of this: one that has not ended went down with its request. */
const PATIENCE_MS = 5_000;

/**
 * An owner that was stepped so lately, and has sequences open, is taken to be on its way to its next step: others' rows are
 * as few as if it were there.
 */
const ACTIVE_MS = 50;

/** So long a pass of others waits for it. */
const GRACE_MS = 4;

/**
 * The engine shared in this way, its encoder and its decoder.
 *
 * @param onPass called after each pass over the decoder's weights, with its rows
 */
export function sharedEngine<R extends Role>(engine: Engine<R>, onPass?: (rows: number) => void): Engine<R> {
  const owners = new Owners();
  const encoder = engine.encoder as Encoder | undefined;
  const decoder = engine.decoder as Decoder | undefined;
  return {
    ...engine,
    encoder: (encoder && new FairEncoder(encoder, owners)) as Engine<R>["encoder"],
    decoder: (decoder && new BatchingDecoder(decoder, eventLoopTurn, owners, onPass)) as Engine<R>["decoder"],
  };
}

/** An owner with sequences open. */
interface Active {
  open: number;
  /** When its last pass was made, milliseconds since 1970, and its rows in it. */
  stepped: number;
  rows: number;
  /** Rows that it may have beside others, beyond those that it had. */
  credit: number;
}

interface Opened {
  owner: string;
  /** It is in work no more. */
  end: () => void;
}

export class BatchingDecoder implements Decoder {
  /** Steps that requests asked for; {@link passes} may be fewer. */
  steps = 0;
  readonly #own: Decoder;
  readonly #turn: () => Promise<void>;
  readonly #onPass: (rows: number) => void;
  /** Of one row. */
  readonly #multiplyAdds: number;
  /** In order of arrival. */
  readonly #waiting: Job[] = [];
  readonly #opened = new Map<Sequence, Opened>();
  /** Who was served longest ago comes first. */
  readonly #active = new Map<string, Active>();
  /** Whom an isolate serves. */
  readonly #owners: Owners;
  /** What was done for crowds: passes, and slices of what opens sequences. */
  #crowdSlices = 0;
  /** When the last pass was made; milliseconds since 1970. */
  #passedAt = 0;
  #running: Pass | null = null;
  /** Sequences that were stepped lately and have not come back for their next step. */
  readonly #expected = new Set<Sequence>();
  /** Multiply-adds since the event loop's last turn. */
  #work = 0;

  /** @param turn of the event loop, in the request that calls {@link step} */
  constructor(
    own: Decoder,
    turn: () => Promise<void> = eventLoopTurn,
    owners = new Owners(),
    onPass: (rows: number) => void = () => {},
  ) {
    this.#own = own;
    this.#turn = turn;
    this.#onPass = onPass;
    this.#owners = owners;
    this.#multiplyAdds = multiplyAddsOf(own);
  }

  get config() {
    return this.#own.config;
  }
  get isFirst() {
    return this.#own.isFirst;
  }
  get maxInputTokens() {
    return this.#own.maxInputTokens;
  }
  get maxNewTokens() {
    return this.#own.maxNewTokens;
  }
  get maxRows() {
    return this.#own.maxRows;
  }
  get lookahead() {
    return this.#own.lookahead;
  }
  get rooms() {
    return this.#own.rooms;
  }
  get openSequences() {
    return this.#own.openSequences;
  }
  get passes() {
    return this.#own.passes;
  }
  get rows() {
    return this.#own.rows;
  }

  fits(inputs: readonly DecoderInput[]): boolean {
    return this.#own.fits(inputs);
  }

  async open(hidden: Float32Array, maxNewTokens: number): Promise<Sequence> {
    const [sequence] = await this.openAll([{ hidden, maxNewTokens }]);
    return sequence as Sequence;
  }

  /** All inputs are of one owner. */
  async openAll(inputs: readonly DecoderInput[], signal?: AbortSignal): Promise<Sequence[]> {
    const owner = inputs[0]?.owner ?? "";
    const endOpening = this.#owners.begin(
      owner,
      inputs.reduce((sum, { copies = 1 }) => sum + copies, 0),
    );
    // A request that ends while it waits does not come back.
    signal?.addEventListener("abort", endOpening, { once: true });
    let work = 0;
    const pause: Pause = (multiplyAdds) => {
      this.#owners.serve(owner, multiplyAdds);
      work += multiplyAdds;
      if (work < sliceOf(this.#owners, owner)) return null;
      work = 0;
      return this.#giveWay(owner);
    };
    const opened = await this.#own.openAll(inputs, signal, pause).finally(() => {
      signal?.removeEventListener("abort", endOpening);
      endOpening();
    });
    const active = this.#active.get(owner) ?? { open: 0, stepped: 0, rows: 0, credit: 0 };
    this.#active.set(owner, active);
    active.open += opened.length;
    for (const sequence of opened) this.#opened.set(sequence, { owner, end: this.#owners.begin(owner) });
    // Those whose room was reclaimed: their requests ended without a word.
    for (const sequence of this.#opened.keys()) if (!sequence.isOpen) this.close(sequence);
    return opened;
  }

  async step(sequences: readonly Sequence[], tokens: ArrayLike<number>, before?: Float32Array): Promise<StepOutput> {
    const job = this.#jobOf(sequences, tokens, before);
    this.steps++;
    this.#waiting.push(job);
    this.#owners.see(job.owner);
    for (const sequence of sequences) this.#expected.delete(sequence);
    const isAtOnce = !this.#owners.isCrowd(job.owner) && this.#work < WORK_A_TURN;
    if (isAtOnce && !this.#othersAreWorthATurn()) await this.#makePass(false);
    for (let rested = 0; !job.outcome; ) {
      rested = await this.#takeTurn(rested);
      if (job.outcome) break;
      // Who has not come back by now is not waited for again.
      this.#expected.clear();
      const isCrowd = this.#owners.isCrowd(job.owner);
      if (!isCrowd || rested >= CROWD_TURNS) await this.#makePass(isCrowd);
    }
    return job.outcome();
  }

  /** @param rested turns in a row in which nothing was done for crowds. @returns as many, and this one */
  async #takeTurn(rested: number): Promise<number> {
    const slices = this.#crowdSlices;
    await this.#turn();
    this.#work = 0;
    return slices === this.#crowdSlices ? rested + 1 : 0;
  }

  /** Between two slices of one who opens sequences. */
  async #giveWay(owner: string): Promise<void> {
    let rested = await this.#takeTurn(0);
    while (rested < CROWD_TURNS && this.#owners.isCrowd(owner)) rested = await this.#takeTurn(rested);
    if (this.#owners.isCrowd(owner)) this.#crowdSlices++;
  }

  rewind(sequence: Sequence, tokens: number): void {
    this.#own.rewind(sequence, tokens);
  }

  reorder(sequences: readonly Sequence[], parents: readonly number[]): void {
    this.#own.reorder(sequences, parents);
  }

  close(sequence: Sequence): void {
    this.#expected.delete(sequence);
    const opened = this.#opened.get(sequence);
    this.#opened.delete(sequence);
    opened?.end();
    const active = opened && this.#active.get(opened.owner);
    if (active && --active.open === 0) this.#active.delete(opened.owner);
    const index = this.#waiting.findIndex(({ sequences }) => sequences.includes(sequence));
    if (index >= 0) {
      const [job] = this.#waiting.splice(index, 1);
      fail(job as Job, new EdgeT5Error("E_SEQUENCE_CLOSED", "The sequence was closed before its step was made."));
    }
    this.#own.close(sequence);
  }

  /** Whether to wait for those who were stepped lately and are not back yet; for crowds nobody waits. */
  #othersAreWorthATurn(): boolean {
    if (this.#expected.size === 0) return false;
    const crowds = this.#crowds();
    const isOfCrowd = (sequence: Sequence) => crowds.has(this.#opened.get(sequence)?.owner ?? "");
    const expected = [...this.#expected].filter((sequence) => !isOfCrowd(sequence)).length;
    if (expected === 0) return false;
    const waiting = this.#waiting.filter(({ owner }) => !crowds.has(owner));
    const rows = waiting.reduce((sum, { sequences }) => sum + sequences.length, expected);
    return Math.min(rows, this.maxRows) * this.#multiplyAdds >= WORTH_A_TURN;
  }

  /** What a request must not get wrong at the cost of others. @throws EdgeT5Error `E_INPUT` */
  #jobOf(sequences: readonly Sequence[], tokens: ArrayLike<number>, before: Float32Array | undefined): Job {
    const rows = sequences.length;
    if (rows === 0 || rows !== tokens.length) {
      throw new EdgeT5Error("E_INPUT", `${rows} sequences were given ${tokens.length} tokens.`);
    }
    return {
      owner: this.#opened.get(sequences[0] as Sequence)?.owner ?? "",
      sequences,
      tokens: Array.from(tokens, (token) => checkedId(token, this.config.vocabSize)),
      before: checkedHidden(before, rows, this.config, this.isFirst),
      outcome: null,
    };
  }

  /** Of those who have sequences open. */
  #crowds(): Set<string> {
    return new Set([...this.#active.keys()].filter((owner) => this.#owners.isCrowd(owner)));
  }

  /** Steps those who wait, as many as the engine takes at once; of crowds a few, and nobody else's with them. */
  async #makePass(ofCrowds: boolean): Promise<void> {
    if (this.#running) {
      if (Date.now() - this.#running.started < PATIENCE_MS) return;
      for (const job of this.#running.jobs) {
        fail(job, new EdgeT5Error("E_DECODER_LOST", "The request that made this step went away. Try again."));
      }
    }
    const jobs = this.#nextJobs(ofCrowds);
    if (jobs.length === 0) return;
    if (ofCrowds) this.#crowdSlices++;
    const pass: Pass = { jobs, started: Date.now() };
    this.#running = pass;
    const going = await this.#stepTogether(jobs);
    if (this.#running !== pass) return;
    this.#running = null;
    this.#passedAt = Date.now();
    for (const { sequences } of going) for (const sequence of sequences) this.#expected.add(sequence);
  }

  /**
   * From the front of the line; at least one, however many rows it has. With several owners each one's rows are as many as
   * of the one that has fewest, so that a pass is not long because of one of them; a request of more rows than that goes
   * when its owner has let as many pass (deficit round robin, Shreedhar and Varghese 1995). None at all while one who was
   * in the last pass is on its way back. Of crowds a few rows, whoever is on its way.
   */
  #nextJobs(ofCrowds: boolean): Job[] {
    const lost = this.#waiting.findIndex(({ owner }) => !this.#active.has(owner));
    // Its sequences are closed: the step will say so.
    if (lost >= 0) return this.#waiting.splice(lost, 1);
    const now = Date.now();
    const crowds = this.#crowds();
    const rowsWaiting = new Map<string, number>();
    for (const { owner, sequences } of this.#waiting) {
      if (crowds.has(owner) !== ofCrowds) continue;
      rowsWaiting.set(owner, (rowsWaiting.get(owner) ?? 0) + sequences.length);
    }
    const wanted = [...rowsWaiting.values()];
    let isReturning = false;
    for (const [owner, { stepped, rows }] of this.#active) {
      if (ofCrowds || crowds.has(owner) || rowsWaiting.has(owner) || now - stepped >= ACTIVE_MS) continue;
      wanted.push(rows);
      isReturning = true;
    }
    if (isReturning && now - this.#passedAt < GRACE_MS) return [];
    const most = wanted.length > 1 ? Math.max(1, Math.min(...wanted)) : Number.POSITIVE_INFINITY;
    const jobs: Job[] = [];
    let room = ofCrowds ? Math.max(1, Math.floor(CROWD_WORK / this.#multiplyAdds)) : this.maxRows;
    for (const [owner, active] of [...this.#active]) {
      const waiting = rowsWaiting.get(owner);
      if (waiting === undefined) continue;
      // Saved up for its next request at most.
      active.credit = Math.min(active.credit + most, Math.max(most, this.maxRows, waiting));
      let rows = 0;
      for (const job of this.#waiting) {
        const size = job.sequences.length;
        if (job.owner !== owner) continue;
        if (size > active.credit || (size > room && jobs.length > 0)) break;
        jobs.push(job);
        rows += size;
        room -= size;
        active.credit -= size;
      }
      if (rows === waiting || wanted.length === 1) active.credit = 0;
      if (rows === 0) continue;
      Object.assign(active, { stepped: now, rows });
      // Who was served goes to the end.
      this.#active.delete(owner);
      this.#active.set(owner, active);
    }
    for (const job of jobs) this.#waiting.splice(this.#waiting.indexOf(job), 1);
    return jobs;
  }

  /** @returns the jobs that succeeded */
  async #stepTogether(jobs: readonly Job[]): Promise<Job[]> {
    const sequences = jobs.flatMap((job) => job.sequences);
    this.#work += sequences.length * this.#multiplyAdds;
    try {
      const tokens = jobs.flatMap((job) => job.tokens);
      const output = await this.#own.step(sequences, tokens, joined(jobs));
      for (let left = sequences.length; left > 0; left -= this.maxRows) this.#onPass(Math.min(left, this.maxRows));
      let first = 0;
      for (const job of jobs) {
        const own = jobs.length === 1 ? output : rowsOf(output, first, job, this.config.dModel);
        job.outcome ??= () => own;
        first += job.sequences.length;
      }
      return [...jobs];
    } catch (error) {
      const [job, ...others] = jobs as [Job, ...Job[]];
      if (others.length === 0) {
        fail(job, error);
        return [];
      }
      // A step is refused before anything is fed. Who is at fault is found one by one, so that the others go on.
      const going: Job[] = [];
      for (const each of jobs) going.push(...(await this.#stepTogether([each])));
      return going;
    }
  }
}

function fail(job: Job, error: unknown): void {
  job.outcome ??= () => {
    throw error;
  };
}

function joined(jobs: readonly Job[]): Float32Array | undefined {
  const parts = jobs.flatMap(({ before }) => (before ? [before] : []));
  if (parts.length <= 1) return parts[0];
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A job's part of what a pass gave. */
function rowsOf({ logits, argmax, hidden }: StepOutput, first: number, { sequences }: Job, dModel: number): StepOutput {
  return {
    logits: (i) => logits(first + i),
    argmax: (i) => argmax(first + i),
    hidden: hidden?.subarray(first * dModel, (first + sequences.length) * dModel) ?? null,
  };
}

/** Of one row, attention over the caches left out. */
function multiplyAddsOf({ config, rooms }: Decoder): number {
  const { layers = 0, logits = 0 } = rooms.at(-1) ?? {};
  const { dModel, dFf, feedForward } = config;
  const layer = dModel * (6 * innerDim(config) + (feedForward === "relu" ? 2 : 3) * dFf);
  return layers * layer + logits * dModel;
}
