/** Closed answers: how probable each of a set of labels is, by the model's own log-probabilities. */
import { EdgeT5Error } from "../../errors.ts";
import type { Decoder, DecoderInput } from "../engine.ts";
import { logSumExp } from "./scores.ts";

/** What labels are scored for; with the adapter that it was encoded with. */
export type LabelsInput = Pick<DecoderInput, "hidden" | "adapter" | "owner">;

export interface LabelScores {
  /** Sum of the log-probabilities of each label's tokens, the end of sequence included when it is one of them. */
  logprobs: number[];
  /** Their softmax: sums to one. */
  scores: number[];
}

/** Labels that share a prefix, walked together: one path is fed, whatever lies below it. */
interface Node {
  token: number;
  /** Indices of the labels that end here. */
  ends: number[];
  children: Map<number, Node>;
}

/**
 * Scores every label in one batch: a sequence a leaf of the labels' trie, stepped together over one pass of the weights.
 * Labels that never fit at once are scored in as many batches as it takes.
 *
 * @param labels token ids of each label
 * @throws EdgeT5Error `E_INPUT` without labels, for an empty label or for the same label twice; as {@link Decoder.openAll}
 */
export async function scoreLabels(
  decoder: Decoder,
  input: LabelsInput,
  labels: readonly (readonly number[])[],
  signal?: AbortSignal,
): Promise<LabelScores> {
  trieOf(labels);
  const logprobs = await logprobsOf(decoder, input, labels, signal);
  const largest = Math.max(...logprobs);
  const weights = logprobs.map((logprob) => Math.exp(logprob - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return { logprobs, scores: weights.map((weight) => weight / total) };
}

async function logprobsOf(
  decoder: Decoder,
  input: LabelsInput,
  labels: readonly (readonly number[])[],
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const paths = pathsOf(trieOf(labels));
  const longest = Math.max(...labels.map(({ length }) => length));
  const whole = { ...input, maxNewTokens: longest, copies: paths.length };
  if (labels.length > 1 && longest <= decoder.maxNewTokens && !decoder.fits([whole])) {
    const half = Math.ceil(labels.length / 2);
    const first = await logprobsOf(decoder, input, labels.slice(0, half), signal);
    return [...first, ...(await logprobsOf(decoder, input, labels.slice(half), signal))];
  }
  const sequences = await decoder.openAll([whole], signal);
  const logprobs = new Array<number>(labels.length).fill(0);
  try {
    for (let position = 0; position < longest; position++) {
      signal?.throwIfAborted();
      const open = [...paths.keys()].filter((i) => position < (paths[i]?.tokens.length ?? 0));
      const output = await decoder.step(
        open.map((i) => sequences[i]!),
        open.map((i) => (position === 0 ? decoder.config.decoderStartTokenId : paths[i]!.tokens[position - 1]!)),
      );
      for (const [row, i] of open.entries()) {
        const { tokens, below } = paths[i]!;
        const logits = output.logits(row);
        const logprob = logits[tokens[position]!]! - logSumExp(logits);
        for (const label of below[position]!) logprobs[label]! += logprob;
      }
    }
  } finally {
    for (const sequence of sequences) decoder.close(sequence);
  }
  return logprobs;
}

function trieOf(labels: readonly (readonly number[])[]): Node {
  if (labels.length === 0) throw new EdgeT5Error("E_INPUT", "There are no labels. Give at least one.");
  const root: Node = { token: -1, ends: [], children: new Map() };
  for (const [index, tokens] of labels.entries()) {
    if (tokens.length === 0) throw new EdgeT5Error("E_INPUT", `Label ${index} has no tokens. Give it a text.`);
    let node = root;
    for (const token of tokens) {
      const child = node.children.get(token) ?? { token, ends: [], children: new Map() };
      node.children.set(token, child);
      node = child;
    }
    if (node.ends.length > 0) {
      throw new EdgeT5Error("E_INPUT", `Labels ${node.ends[0]} and ${index} have the same tokens. Give each once.`);
    }
    node.ends.push(index);
  }
  return root;
}

/** Root to leaf; a node belongs to the first path that goes through it, with the labels at and below it. */
interface Path {
  tokens: number[];
  /** For each token the labels that its log-probability counts for; none when another path has counted it. */
  below: number[][];
}

function pathsOf(root: Node): Path[] {
  const labelsOf = (node: Node): number[] => [...node.ends, ...[...node.children.values()].flatMap(labelsOf)];
  const walk = (node: Node, prefix: readonly number[], counted: readonly number[][]): Path[] => {
    if (node.children.size === 0) return [{ tokens: [...prefix], below: [...counted] }];
    let inherited = counted;
    return [...node.children.values()].flatMap((child) => {
      const paths = walk(child, [...prefix, child.token], [...inherited, labelsOf(child)]);
      inherited = inherited.map(() => []);
      return paths;
    });
  };
  return walk(root, [], []);
}
