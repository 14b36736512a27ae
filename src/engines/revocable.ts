/** An engine whose memory can be given to another: from then on nobody who still holds it touches that memory. */
import { EdgeT5Error } from "../errors.ts";
import type { Engine, Role } from "../t5/engine.ts";

export interface Revocable<R extends Role> {
  engine: Engine<R>;
  /** What is asked of it from now on throws `E_DECODER_LOST`; closing sequences is still nothing to complain of. */
  revoke(): void;
}

/** The same engine, until it is revoked. */
export function revocable<R extends Role>(engine: Engine<R>): Revocable<R> {
  let isRevoked = false;
  const guarded = <T extends object>(part: T): T =>
    new Proxy(part, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          if (isRevoked && name !== "close") {
            throw new EdgeT5Error(
              "E_DECODER_LOST",
              "The model made room for another while this request slept. Try again.",
            );
          }
          return Reflect.apply(value, target, args) as unknown;
        };
      },
    });
  return {
    engine: {
      ...engine,
      adapters: guarded(engine.adapters),
      ...(engine.encoder && { encoder: guarded(engine.encoder) }),
      ...(engine.decoder && { decoder: guarded(engine.decoder) }),
    },
    revoke: () => {
      isRevoked = true;
    },
  };
}
