/** Where an origin listens unless it is told otherwise, and where a gateway on the same machine looks for it. */
export const DEFAULT_ORIGIN_PORT = 8790;
