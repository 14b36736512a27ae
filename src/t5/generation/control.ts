/** What a caller may do while tokens are made. */
export interface GenerateControl {
  /** Stops the decoding between two steps; its reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Awaited between two steps, for a runtime whose event loop needs a turn to send tokens and to see clients leave. */
  turn?: ((step: number) => Promise<void> | undefined) | undefined;
}
