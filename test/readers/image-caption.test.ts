/** Captions: off without a reader; by the Workers AI binding, whose interface alone is stood in for: the real one is Cloudflare's. */
import { expect, test } from "vitest";
import { type AiBinding, CAPTION_MODEL, caption, workersAiCaptioner } from "../../src/readers/image/caption.ts";
import { DEFAULT_LIMITS } from "../../src/readers/limits.ts";
import { pngOf } from "./image-pages.ts";

const IMAGE = pngOf({ width: 4, height: 4, pixels: new Uint8Array(16).fill(128) });

function binding(answer: unknown) {
  const calls: { model: string; input: Readonly<Record<string, unknown>> }[] = [];
  const ai: AiBinding = {
    async run(model, input) {
      calls.push({ model, input });
      if (answer instanceof Error) throw answer;
      return answer;
    },
  };
  return { ai, calls };
}

test("without a reader the error says how to switch one on", async () => {
  const refused = caption(IMAGE, null);
  await expect(refused).rejects.toMatchObject({
    code: "E_INPUT",
    message: expect.stringMatching(/\[ai\].*functions\/ocr/),
  });
});

test("the image goes to the model as it is, and its words come back as a document", async () => {
  const { ai, calls } = binding({ description: " A grey square. " });
  expect(await caption(IMAGE, workersAiCaptioner(ai))).toEqual({
    kind: "document",
    document: { title: null, blocks: [{ kind: "paragraph", text: "A grey square." }] },
    notes: [`Described by ${CAPTION_MODEL}.`],
  });
  expect(calls).toMatchObject([{ model: CAPTION_MODEL, input: { image: [...IMAGE] } }]);
});

test("what is no image, or too large a one, never reaches the model", async () => {
  const { ai, calls } = binding({ description: "?" });
  const captioner = workersAiCaptioner(ai);
  await expect(caption(Buffer.from("text"), captioner)).rejects.toMatchObject({ code: "E_FORMAT" });
  await expect(caption(IMAGE, captioner, { limits: { ...DEFAULT_LIMITS, maxPixels: 15 } })).rejects.toThrow(
    /maxPixels/,
  );
  await expect(caption(IMAGE, captioner, { signal: AbortSignal.abort() })).rejects.toMatchObject({
    name: "AbortError",
  });
  expect(calls).toEqual([]);
});

test("a model that fails, or answers something else, is named", async () => {
  for (const answer of [new Error("3040: out of capacity"), { text: "no" }, null]) {
    const refused = caption(IMAGE, workersAiCaptioner(binding(answer).ai));
    await expect(refused).rejects.toMatchObject({
      code: "E_PROVIDER",
      message: expect.stringContaining(CAPTION_MODEL),
    });
  }
});
