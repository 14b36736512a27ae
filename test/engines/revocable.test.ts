import { expect, test } from "vitest";
import { revocable } from "../../src/engines/revocable.ts";
import { someIds, tinyEngine } from "./tiny.ts";

test("an engine that is revoked leaves its memory alone, and sequences can still be closed", async () => {
  const own = await tinyEngine(8);
  const { engine, revoke } = revocable(own);
  const ids = someIds(5, 1);
  const hidden = await engine.encoder.encode(ids);
  expect(hidden).toEqual(await own.encoder.encode(ids));
  const sequence = await engine.decoder.open(hidden, 4);
  await engine.decoder.step([sequence], [0]);
  expect([engine.decoder.openSequences, engine.decoder.steps]).toEqual([1, 1]);
  revoke();
  for (const use of [
    () => engine.encoder.encode(ids),
    () => engine.decoder.step([sequence], [0]),
    () => engine.decoder.open(hidden, 4),
  ]) {
    await expect((async () => use())()).rejects.toMatchObject({ code: "E_DECODER_LOST", status: 503 });
  }
  expect(own.decoder.steps).toBe(1);
  engine.decoder.close(sequence);
  expect(own.decoder.openSequences).toBe(0);
});
