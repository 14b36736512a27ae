/** The private Worker that reads files, as the gateway calls it. */
import type { Context } from "hono";
import type { TaskRun } from "../../src/api/task-run.ts";
import { ApiError } from "../../src/api-error.ts";
import type { Content } from "../../src/t5/text-to-text/content.ts";
import type { TaskDefinition } from "../../src/tenancy/task-definition.ts";
import { errorOf } from "../shared/error-of.ts";
import type { GatewayEnv } from "./bindings.ts";

export interface GivenFile {
  stream: ReadableStream<Uint8Array>;
  /** As the client calls it. */
  type: string;
  filename: string | undefined;
  /** When it aborts, the file is no longer wanted. */
  signal?: AbortSignal;
}

/**
 * @param languages of the writing in an image, where a request names them
 * @throws ApiError 415 `unsupported_format`, 422 `damaged_file`, 413 `content_too_large`; 503 `reader_unavailable` where the
 * deployment has none
 */
export async function readFile(
  c: Context<GatewayEnv>,
  { input, image }: Pick<TaskDefinition, "input" | "image">,
  { stream, type, filename, signal }: GivenFile,
  languages: TaskRun["languages"],
): Promise<Content> {
  const { READER } = c.env;
  if (!READER) {
    throw new ApiError(
      503,
      "reader_unavailable",
      "This deployment reads no files: it has no READER binding. Send text.",
    );
  }
  const query = new URLSearchParams({
    as: input === "table" ? "table" : "document",
    languages: (languages ?? image.languages).join(),
    image: image.read,
  });
  const response = await READER.fetch(`http://reader/read?${query}`, {
    method: "POST",
    headers: {
      "content-type": type || "application/octet-stream",
      ...(filename !== undefined && { "x-edge-t5-filename": encodeURIComponent(filename) }),
    },
    body: stream,
    signal: signal ? AbortSignal.any([c.req.raw.signal, signal]) : c.req.raw.signal,
  });
  if (!response.ok) throw await errorOf(response, "reader");
  return response.json<Content>();
}
