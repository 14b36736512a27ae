/** What a caller may do while tokens are made. */
export interface GenerateControl {
  /** Stops the decoding between two steps; its reason is thrown. */
  signal?: AbortSignal | undefined;
}
