/** What a generation is measured by, the same for both libraries, in Node and in a browser. */
import { median } from "./measure.ts";

export const PROMPT_TOKENS = 128;
export const NEW_TOKENS = 64;

/** Greedy, and no shorter than it may be. */
export const GENERATION = { max_new_tokens: NEW_TOKENS, min_new_tokens: NEW_TOKENS };

/**
 * `edge_t5`: the kit. `transformersjs`: `@huggingface/transformers` on an export with `--activations matrix`, which is how
 * onnxruntime's tools quantize the models that its users run. `transformersjs_row`: on an export as it is by default.
 */
export const LIBRARIES = ["edge_t5", "transformersjs", "transformersjs_row"] as const;
export type Library = (typeof LIBRARIES)[number];

/** Milliseconds. */
export interface Libraries {
  /** From files at hand to a model that answers. */
  load(library: Library): Promise<number>;
  /** One whole answer: from text to text. */
  generate(library: Library): Promise<number>;
}

const LOADS = 3;

/** Loads and generates in turn; medians, and the medians of the rounds' own ratios. */
export async function compareGeneration(libraries: Libraries, rounds: number): Promise<Record<string, number>> {
  const loads = perLibrary();
  for (let i = 0; i < LOADS; i++) for (const library of LIBRARIES) loads[library].push(await libraries.load(library));
  const answers = perLibrary();
  for (let round = -1; round < rounds; round++) {
    for (const library of LIBRARIES) {
      const ms = await libraries.generate(library);
      if (round >= 0) answers[library].push(ms / NEW_TOKENS);
    }
  }
  const figures: Record<string, number> = {};
  for (const library of LIBRARIES) {
    figures[`${library}_ms_per_token`] = median(answers[library]);
    figures[`${library}_load_ms`] = median(loads[library]);
    if (library === "edge_t5") continue;
    const ratios = answers.edge_t5.map((ms, round) => ms / (answers[library][round] ?? 0));
    figures[`edge_t5_over_${library}`] = median(ratios);
    figures[`edge_t5_load_over_${library}`] = median(loads.edge_t5) / median(loads[library]);
  }
  return figures;
}

function perLibrary(): Record<Library, number[]> {
  return { edge_t5: [], transformersjs: [], transformersjs_row: [] };
}
