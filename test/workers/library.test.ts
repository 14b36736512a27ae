/** The kit as a library inside workerd, from a package in R2. */
import { expect, test } from "vitest";
import { modelStore, R2Store, T5 } from "../../src/index.workerd.ts";
import { bucket, putModel } from "./isolate.ts";

test("T5.fromPretrained reads R2, and answers", async () => {
  await putModel("library");
  const store = modelStore(bucket, "library");
  const model = await T5.fromPretrained(store, { maxInputTokens: 64, maxNewTokens: 32, batchSize: 1 });
  expect((await model.generate("translate English to German: The house is old.")).text).toBe("Das Haus ist alt.");
  const { label } = await model.classify("classify package: a library for sockets", ["games", "libs", "net"]);
  expect(label).toBe("libs");
  await expect(T5.fromPretrained()).rejects.toMatchObject({ code: "E_INPUT" });
  await expect(T5.fromPretrained(new R2Store(bucket, "nothing/"))).rejects.toMatchObject({
    code: "E_PACKAGE_NOT_FOUND",
  });
});
