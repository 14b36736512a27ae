/** What a caller may do while tokens are made. */
export interface GenerateControl {
  /** Stops the decoding between two steps; its reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Asked before each step: a turn of the event loop, where one is due. */
  turn?: (() => Promise<void> | null) | undefined;
}
