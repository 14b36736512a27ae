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
  const run = async (input: string, draft: number | undefined) => {
    const options = { num_beams: 1, do_sample: false, max_new_tokens: MAX_NEW_TOKENS, prompt_lookup_num_tokens: draft };
    const steps = t5.decoder.steps;
    const started = performance.now();
    const { ids } = await t5.generate(input, options);
    return { ms: performance.now() - started, tokens: ids.length, passes: t5.decoder.steps - steps };
  };
  const ratios: number[] = [];
  let perPass = 0;
  for (let round = -1; round < ROUNDS; round++) {
    const drafted = { ms: 0, tokens: 0, passes: 0 };
    let withoutMs = 0;
    // In turn for each text: a machine whose speed drifts changes both sides.
    for (const input of inputs) {
      withoutMs += (await run(input, 0)).ms;
      const { ms, tokens, passes } = await run(input, undefined);
      drafted.ms += ms;
      drafted.tokens += tokens;
      drafted.passes += passes;
    }
    perPass = drafted.tokens / drafted.passes;
    if (round >= 0) ratios.push(drafted.ms / withoutMs);
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
