/** What is said of a prompt that goes whole though it is longer than those that the model was trained with. */

/**
 * @param trained tokens, if the model says so
 * @param instead what to do
 */
export function lengthNotes(tokens: number, trained: number | null | undefined, instead: string): string[] {
  if (trained == null || tokens <= trained) return [];
  return [
    `The prompt has ${tokens} tokens, the model was trained with up to ${trained}: the answer may be worse. ${instead}`,
  ];
}

export const SPLIT_IT = "Have the task split it: set its long.";
