/**
 * Drafts from the prompt: tokens a pass over the weights, and time with drafts ÷ time without, on the packaged model's
 * summaries (the rows of test/fixtures/reference), greedy. In Node; alone: `node test/bench/drafts.ts [--json]`.
 */
import { formatTable } from "../../src/cli/output.ts";
import { T5 } from "../../src/index.ts";
import { readReference } from "../quality/reference.ts";
import { median } from "./measure.ts";

export interface DraftFigures {
  /** Of summaries; of German translations, which copy next to nothing. */
  tokens_per_pass: number;
  tokens_per_pass_translation: number;
  /** Time of the same answers with drafts ÷ without. */
  drafts_over_none: number;
  drafts_over_none_translation: number;
}

const ROUNDS = 5;
const MAX_NEW_TOKENS = 64;

export async function measureDrafts(): Promise<DraftFigures> {
  const t5 = await T5.fromPretrained();
  const summaries = await compare(t5, "summarize");
  const translations = await compare(t5, "translate-de");
  return {
    tokens_per_pass: summaries.perPass,
    tokens_per_pass_translation: translations.perPass,
    drafts_over_none: summaries.ratio,
    drafts_over_none_translation: translations.ratio,
  };
}

async function compare(t5: T5, task: "summarize" | "translate-de") {
  const inputs = readReference(task).map(({ input }) => input);
  const run = async (draft: number | undefined) => {
    const options = { num_beams: 1, do_sample: false, max_new_tokens: MAX_NEW_TOKENS };
    const passes = t5.decoder.steps;
    let tokens = 0;
    const started = performance.now();
    for (const input of inputs) {
      tokens += (await t5.generate(input, { ...options, prompt_lookup_num_tokens: draft })).ids.length;
    }
    return { ms: performance.now() - started, perPass: tokens / (t5.decoder.steps - passes) };
  };
  const ratios: number[] = [];
  let perPass = 0;
  for (let round = -1; round < ROUNDS; round++) {
    const without = await run(0);
    const withDrafts = await run(undefined);
    perPass = withDrafts.perPass;
    if (round >= 0) ratios.push(withDrafts.ms / without.ms);
  }
  return { perPass, ratio: median(ratios) };
}

export function draftTable(figures: DraftFigures): string {
  return formatTable(
    ["DRAFTS FROM THE PROMPT", "SUMMARIES", "TRANSLATIONS"],
    [
      ["tokens a pass", figures.tokens_per_pass.toFixed(2), figures.tokens_per_pass_translation.toFixed(2)],
      ["time ÷ without drafts", figures.drafts_over_none.toFixed(2), figures.drafts_over_none_translation.toFixed(2)],
    ],
  );
}

if (import.meta.main) {
  const figures = await measureDrafts();
  if (process.argv.includes("--json")) console.log(JSON.stringify({ figures }));
  else console.log(draftTable(figures));
}
