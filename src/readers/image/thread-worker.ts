/** The thread that images are read on: a page blocks it. */
import { parentPort, workerData } from "node:worker_threads";
import { EdgeT5Error } from "../../errors.ts";
import { createNodeOcr } from "./node.ts";
import type { OcrThreadAnswer, OcrThreadRequest } from "./thread.ts";

const port = parentPort!;
const { memoryBytes } = workerData as { memoryBytes: number | undefined };
const opening = createNodeOcr(memoryBytes);

port.on("message", async ({ bytes, request }: OcrThreadRequest) => {
  const ocr = await opening;
  const answer = await ocr.recognize(bytes, request).then(
    (pages) => ({ pages }),
    (error) => ({ error: plain(error) }),
  );
  port.postMessage({ heldBytes: ocr.bytes, ...answer } satisfies OcrThreadAnswer);
});

/** What crosses to another thread is copied: a code would be lost with its class. */
function plain(error: unknown): NonNullable<OcrThreadAnswer["error"]> {
  const code = error instanceof EdgeT5Error ? error.code : undefined;
  return { code, message: error instanceof Error ? error.message : String(error) };
}
