/**
 * Summaries of a text of any length: of its sections first, then of those summaries, until one prompt holds them. With a
 * number of words asked for, the summaries are made of as many windows as it takes to have that many.
 */
import { EdgeT5Error } from "../../../errors.ts";
import { type Band, chooseWithin, countWords, firstWords, spreadOrder } from "./choose.ts";
import { cutToFit } from "./cut.ts";
import {
  type LongBounds,
  type LongEnd,
  type LongModel,
  type LongOptions,
  type LongRunOptions,
  type LongSize,
  sizeOf,
} from "./model.ts";
import type { Section } from "./sections.ts";
import { splitSentences } from "./sentences.ts";
import {
  fits,
  MOST_CHARACTERS,
  packEvenly,
  type Tile,
  textOf,
  tilesOf,
  tokensOf,
  type Window,
  windowOf,
} from "./windows.ts";

export interface SummaryOptions extends LongOptions {
  /** Length of the summary. Default: as long as the model makes it. */
  words?: number | undefined;
}

export interface SummaryPlan {
  /** Of the first round, one a window. */
  readonly prompts: readonly string[];
  /**
   * Of the first round. Later ones read summaries of at most a quarter of a window each: each has at most half as many
   * prompts as the one before. Words that the first round has not enough of take up to three more over the whole text, the
   * last of them a prompt a sentence; all rounds together read at most {@link MOST_READINGS} times what the first does.
   */
  readonly size: LongSize;
}

/**
 * The windows of a text's sections: a section is as many of them as it takes, cut between sentences; one without words is
 * none, neighbours that together have no quarter of a window are one. A text that fits is one window, untouched.
 *
 * @throws EdgeT5Error `E_CONTEXT_LENGTH` when the template leaves no room, `E_INPUT` for a locale or a length that is none
 */
export function planSummary(
  source: string | readonly Section[],
  bounds: LongBounds,
  options: SummaryOptions,
): SummaryPlan {
  if (options.words !== undefined) bandOf(options.words);
  const prompts = new Source(source, bounds, options).prompts();
  return { prompts, size: sizeOf(prompts, bounds) };
}

/** Longest summary that goes into another, as a share of a window: the next round has at most half as many windows. */
const SUMMARY_SHARE = 1 / 4;

/**
 * Summarizes a text of any length.
 *
 * Without `words`: by sections, then over the summaries as often as it takes for one prompt to hold them; that one's answer
 * comes as it is made.
 *
 * With `words`: that many, a tenth less or more, whenever the text's summaries have so many; else all that they have, and a
 * note. Too few words make windows smaller, down to a sentence each; too many are summarized again, in as many windows as
 * should have enough. Of the shortest summaries that have enough, whole sentences are chosen, spread over the text; only
 * when no choice of them is within the tenth, one is cut at a word. Words are what stands between blanks. A sentence that
 * was said already is left out, and one without a full stop gets it. Nothing comes before all is chosen.
 *
 * @throws EdgeT5Error as {@link planSummary}
 */
export async function* summarizeLong(
  model: LongModel,
  source: string | readonly Section[],
  { signal, ...options }: SummaryOptions & LongRunOptions,
): AsyncGenerator<string, LongEnd, undefined> {
  const band = options.words === undefined ? null : bandOf(options.words);
  const rounds = new Rounds(model, new Source(source, model, options), band?.most ?? null, signal);
  return yield* band ? rounds.within(band) : rounds.whole();
}

/** @throws EdgeT5Error `E_INPUT` */
function bandOf(words: number): Band {
  if (!Number.isInteger(words) || words < 1) {
    throw new EdgeT5Error("E_INPUT", `words is ${words}. It must be a whole number of at least 1.`);
  }
  return { wanted: words, least: Math.ceil(words * 0.9), most: Math.floor(words * 1.1) };
}

/** A section's tiles, and what they are packed into: its heading stands in every prompt. */
interface Tiled {
  window: Window;
  tiles: readonly Tile[];
}

/** A text in sections, and what windows it makes. */
class Source {
  readonly window: Window;
  readonly locale: string | undefined;
  readonly #sections: readonly Section[];
  #tiled: readonly Tiled[] | undefined;

  constructor(source: string | readonly Section[], bounds: LongBounds, { fill, locale }: LongOptions) {
    this.window = windowOf(bounds, fill);
    this.locale = locale;
    const sections = typeof source === "string" ? [{ heading: null, text: source }] : source;
    this.#sections = this.#grouped(sections.filter(({ text }) => countWords(text) > 0));
  }

  /** Most windows that it can be cut into. */
  get sentences(): number {
    return this.#all().reduce((sum, { tiles }) => sum + tiles.length, 0);
  }

  get tokensAWord(): number {
    const words = this.#sections.reduce((sum, { text }) => sum + countWords(text), 0);
    return this.#tokens() / Math.max(1, words);
  }

  /** Prompts of about so many windows, or as few as it takes. */
  prompts(wanted = 1): string[] {
    const { fill } = this.window;
    if (wanted === 1) {
      const whole = this.#sections.map((section) => headingOf(section) + section.text).join("\n\n");
      if (whole === "") return [];
      if (fits(whole, this.window)) return [fill(whole)];
    }
    const total = Math.max(1, this.#tokens());
    const isEach = wanted >= this.sentences;
    return this.#all().flatMap(({ window, tiles }) => {
      const share = Math.max(1, Math.round((wanted * tokensOf(tiles)) / total));
      const spans = isEach ? tiles.map((_, i) => ({ first: i, end: i + 1 })) : packEvenly(tiles, window, share);
      return spans
        .map((span) => textOf(tiles, span))
        .filter((text) => countWords(text) > 0)
        .map((text) => window.fill(text));
    });
  }

  /** Sections too short to be summarized alone are one with their neighbours. */
  #grouped(sections: readonly Section[]): Section[] {
    const { bounds, fill, room } = this.window;
    const most = room * SUMMARY_SHARE;
    const own = bounds.maxInputTokens - room;
    const grouped: Section[] = [];
    let before = Number.POSITIVE_INFINITY;
    for (const section of sections) {
      const text = headingOf(section) + section.text;
      const isLong = text.length > most * MOST_CHARACTERS;
      const tokens = isLong ? Number.POSITIVE_INFINITY : bounds.count(fill(text)) - own;
      const last = grouped.at(-1);
      if (last && before + tokens <= most) {
        grouped[grouped.length - 1] = { heading: null, text: `${headingOf(last)}${last.text}\n\n${text}` };
        before += tokens;
      } else {
        grouped.push(section);
        before = tokens;
      }
    }
    return grouped;
  }

  #tokens(): number {
    return this.#all().reduce((sum, { tiles }) => sum + tokensOf(tiles), 0);
  }

  #all(): readonly Tiled[] {
    this.#tiled ??= this.#sections.map((section) => this.#tile(section));
    return this.#tiled;
  }

  #tile(section: Section): Tiled {
    const { bounds, fill, room } = this.window;
    const heading = headingOf(section);
    const own = bounds.count(fill(heading)) - bounds.count(fill(""));
    // A heading as long as a paragraph is one.
    const isHeading = heading !== "" && own <= room / 4;
    const window = isHeading ? { bounds, fill: (text: string) => fill(heading + text), room: room - own } : this.window;
    return { window, tiles: tilesOf(isHeading ? section.text : heading + section.text, window, this.locale) };
  }
}

function headingOf({ heading }: Section): string {
  return heading === null || heading.trim() === "" ? "" : `${ended(heading.trim())} `;
}

function ended(sentence: string): string {
  return /[.!?:…。！？]["'”’“»«)\]]{0,3}$/.test(sentence) ? sentence : `${sentence}.`;
}

/** Summaries of one round. */
interface Level {
  /** Of each window, sentence by sentence. */
  readonly summaries: readonly (readonly string[])[];
  readonly words: number;
}

class Rounds {
  readonly #model: LongModel;
  readonly #source: Source;
  readonly #signal: AbortSignal | undefined;
  /** New tokens of a summary that goes into another, or of which only so many words are of use. */
  readonly #most: number;
  /** Tokens of prompts so far, and at most. */
  #spent = 0;
  #budget = Number.POSITIVE_INFINITY;
  #isSpent = false;
  /** Sentences of windows' summaries: those that come again in another round are not summarized again. */
  readonly #known = new Map<string, readonly string[]>();

  /** @param words of the whole summary, at most */
  constructor(model: LongModel, source: Source, words: number | null, signal: AbortSignal | undefined) {
    this.#model = model;
    this.#source = source;
    this.#signal = signal;
    const useful = words === null ? Number.POSITIVE_INFINITY : Math.ceil(2 * words * source.tokensAWord) + 8;
    this.#most = Math.min(model.maxNewTokens, Math.max(1, Math.floor(source.window.room * SUMMARY_SHARE)), useful);
  }

  async *whole(): AsyncGenerator<string, LongEnd, undefined> {
    let prompts = this.#source.prompts();
    if (prompts.length === 0) return NOTHING;
    while (prompts.length > 1) {
      const next = this.#over(await this.#summarize(prompts), 1);
      if (next.length >= prompts.length) throw new EdgeT5Error("E_INTERNAL", "Summaries do not become fewer.");
      prompts = next;
    }
    const [prompt] = prompts;
    if (prompt === undefined) return { notes: ["The model's summaries of the text's parts are empty."] };
    let isCut = false;
    let given = "";
    let blanks = "";
    for await (const { text, finishReason } of this.#model.generate([prompt], { signal: this.#signal })) {
      const all = given === "" ? text.trimStart() : blanks + text;
      const words = all.trimEnd();
      blanks = all.slice(words.length);
      if (words) yield words;
      given ||= words;
      isCut = finishReason === "length";
    }
    return { notes: isCut ? ["The summary ends early: it came to the limit of new tokens."] : [] };
  }

  async *within(band: Band): AsyncGenerator<string, LongEnd, undefined> {
    const prompts = this.#source.prompts();
    if (prompts.length === 0) return NOTHING;
    const first = await this.#summarize(prompts);
    this.#budget = MOST_READINGS * this.#spent;
    let level = await this.#enough(first, band);
    while (level.words > band.most) {
      const next = await this.#condensed(level, band);
      if (!next) break;
      level = next;
    }
    const { sentences, notes } = chosenOf(level, band);
    for (const [i, sentence] of sentences.entries()) yield i === 0 ? sentence : ` ${sentence}`;
    return { notes: this.#isSpent ? [...notes, SPENT] : notes };
  }

  /** Smaller windows, more summaries, until they have enough words or windows are but a sentence. */
  async #enough(first: Level, band: Band): Promise<Level> {
    let level = first;
    const most = this.#source.sentences;
    for (let tries = 0; tries < REFINEMENTS && level.words < band.least; tries++) {
      if (level.summaries.length >= most) break;
      const isLast = tries === REFINEMENTS - 1 || level.words === 0;
      const prompts = this.#source.prompts(isLast ? most : windowsFor(level, band));
      if (!this.#mayRead(prompts)) break;
      const next = await this.#summarize(prompts);
      if (next.words > level.words) level = next;
    }
    return level;
  }

  /** Summaries of summaries that have enough words; null where those would be too few. */
  async #condensed(level: Level, band: Band): Promise<Level | null> {
    let last = level;
    for (let tries = 0; tries < 2; tries++) {
      const wanted = windowsFor(last, band);
      if (wanted > level.summaries.length / 2) return null;
      const prompts = this.#over(level, wanted);
      if (!this.#mayRead(prompts)) return null;
      const next = await this.#summarize(prompts);
      if (next.words === 0 || next.words >= level.words) return null;
      if (next.words >= band.least) return next;
      last = next;
    }
    return null;
  }

  /** Whether another round's prompts are within what all rounds together may read. */
  #mayRead(prompts: readonly string[]): boolean {
    const isWithin = this.#spent + this.#tokensOf(this.#missing(prompts)) <= this.#budget;
    this.#isSpent ||= !isWithin;
    return isWithin;
  }

  #tokensOf(prompts: readonly string[]): number {
    return prompts.reduce((sum, prompt) => sum + this.#model.count(prompt), 0);
  }

  #missing(prompts: readonly string[]): string[] {
    return [...new Set(prompts.filter((prompt) => !this.#known.has(prompt)))];
  }

  async #summarize(prompts: readonly string[]): Promise<Level> {
    const missing = this.#missing(prompts);
    this.#spent += this.#tokensOf(missing);
    const answers = missing.map(() => ({ text: "", isCut: false }));
    const options = { maxNewTokens: this.#most, signal: this.#signal };
    for await (const { index, text, finishReason } of missing.length > 0
      ? this.#model.generate(missing, options)
      : []) {
      const answer = answers[index];
      if (!answer) throw new EdgeT5Error("E_INTERNAL", `The model answered prompt ${index}, which there is not.`);
      answer.text += text;
      answer.isCut = finishReason === "length";
    }
    for (const [i, prompt] of missing.entries()) this.#known.set(prompt, this.#sentencesOf(answers[i] ?? EMPTY));
    const said = new Set<string>();
    const isNew = (sentence: string) => {
      const key = sentence
        .toLowerCase()
        .match(/[\p{L}\p{N}]+/gu)
        ?.join(" ");
      if (key === undefined || said.has(key)) return false;
      said.add(key);
      return true;
    };
    const summaries = prompts.map((prompt) => (this.#known.get(prompt) ?? []).filter(isNew));
    return { summaries, words: summaries.flat().reduce((sum, sentence) => sum + countWords(sentence), 0) };
  }

  /** Whole sentences, no more than a summary may have. One that was cut loses its last, unless that is all it has. */
  #sentencesOf({ text, isCut }: { text: string; isCut: boolean }): string[] {
    const count = (part: string) => this.#model.count(part);
    const sentences = splitSentences(text.replace(/\s+/g, " "), this.#source.locale)
      .filter(({ isSentence }) => isSentence)
      .map((piece) => piece.text);
    if (isCut && sentences.length > 1) sentences.pop();
    const kept: string[] = [];
    let left = this.#most;
    for (const sentence of sentences) {
      const [part = ""] = kept.length > 0 ? [sentence] : cutToFit(sentence, (each) => count(each) <= this.#most + 1);
      left -= count(part) - 1;
      if (left < 0 && kept.length > 0) break;
      kept.push(ended(part.trim()));
    }
    return kept;
  }

  /** Prompts over summaries, of about so many windows, or as few as it takes. */
  #over({ summaries }: Level, windows: number): string[] {
    const { window, locale } = this.#source;
    const texts = summaries.map((sentences) => sentences.join(" ")).filter(Boolean);
    const tiles = texts.flatMap((text) => tilesOf(`${text}\n`, window, locale));
    return packEvenly(tiles, window, windows).map((span) => window.fill(textOf(tiles, span)));
  }
}

const NOTHING: LongEnd = { notes: ["There is nothing to summarize: the text has no words."] };
const EMPTY = { text: "", isCut: false };

/** How many times the tokens of the first round all rounds together may read, for a number of words. */
const MOST_READINGS = 8;
const SPENT = `All rounds together read a text at most ${MOST_READINGS} times over: no further one was made for the number of words.`;

/** How often a text is cut into smaller windows, the last time into sentences. */
const REFINEMENTS = 3;

/** As many windows as should have a little more than the words asked for, if they are summarized as those before. */
function windowsFor({ summaries, words }: Level, { wanted }: Band): number {
  return Math.ceil((1.2 * wanted) / (words / Math.max(1, summaries.length)));
}

function chosenOf({ summaries, words }: Level, band: Band): { sentences: string[]; notes: string[] } {
  const sentences = summaries.flat();
  if (words < band.least) {
    return {
      sentences,
      notes: [`The text's summaries have ${words} words together; ${band.wanted} were asked for.`],
    };
  }
  if (words <= band.most) return { sentences, notes: [] };
  const { chosen, cut } = chooseWithin(sentences.map(countWords), orderOf(summaries), band);
  const texts = chosen.map((i) => {
    const sentence = sentences[i] as string;
    return cut?.index === i ? firstWords(sentence, cut.words) : sentence;
  });
  return { sentences: texts, notes: cut ? ["A sentence was cut to have the words that were asked for."] : [] };
}

/** Indices of all sentences: the windows' first ones first, spread over the text, then their second ones. */
function orderOf(summaries: readonly (readonly string[])[]): number[] {
  const starts: number[] = [];
  let count = 0;
  for (const { length } of summaries) {
    starts.push(count);
    count += length;
  }
  const order: number[] = [];
  const windows = spreadOrder(summaries.length);
  for (let place = 0; order.length < count; place++) {
    for (const i of windows) if (place < (summaries[i]?.length ?? 0)) order.push((starts[i] as number) + place);
  }
  return order;
}
