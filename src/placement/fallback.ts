/** Two ways to the same answer: the second is taken when the first fails before anything of it was given. */

/**
 * @param isWhole nothing is given before the first way has come to its end: who waits for the whole loses nothing by it
 * @param mayFallBack told of each failure that can still be mended
 */
export async function* withFallback<T>(
  first: AsyncIterable<T>,
  second: () => AsyncIterable<T>,
  isWhole: boolean,
  mayFallBack: (error: unknown) => boolean,
): AsyncGenerator<T, void, undefined> {
  const kept: T[] = [];
  let hasGiven = false;
  try {
    for await (const item of first) {
      if (isWhole) kept.push(item);
      else {
        hasGiven = true;
        yield item;
      }
    }
  } catch (error) {
    if (hasGiven || !mayFallBack(error)) throw error;
    yield* second();
    return;
  }
  yield* kept;
}
