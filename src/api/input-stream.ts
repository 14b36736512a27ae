/**
 * A request's list on its way through both halves, as streams of frames: one call a half, however many inputs (a request
 * may call a Worker 32 times in all). To the encoder go token ids, from it come the same ids with their hidden states:
 * the body that the decoder takes. A half reads the next inputs when it is done with those before.
 */
import * as z from "zod";
import type { EdgeT5Error } from "../errors.ts";
import { encodeFrame, type FrameReader, malformed } from "./frames.ts";
import { decodeOptionsSchema, errorBody, parseErrorBody } from "./token-stream.ts";

/** Of an input: its token ids; the frame's payload is its hidden states `[S, dModel]`, if any. */
const headSchema = z.object({ ids: z.array(z.int().nonnegative()).min(1) });

/** An input whose hidden states are there. */
export interface StreamedInput {
  ids: readonly number[];
  /** `[S, dModel]`; empty before the encoder's first layer. */
  hidden: Float32Array;
}

/** Token ids of all inputs, as the encoder takes them. */
export function writeInputs(inputs: readonly (readonly number[])[]): ReadableStream<Uint8Array> {
  let next = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const ids = inputs[next++];
        if (ids) controller.enqueue(encodeFrame({ ids }));
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

/** @throws EdgeT5Error what was thrown where they come from */
export async function* readInputs(frames: FrameReader): AsyncGenerator<StreamedInput, void, undefined> {
  try {
    for (let frame = await frames.next(); frame; frame = await frames.next()) {
      const error = parseErrorBody(frame.head);
      if (error) throw error;
      const parsed = headSchema.safeParse(frame.head);
      if (!parsed.success) throw malformed();
      yield { ids: parsed.data.ids, hidden: frame.payload };
    }
  } finally {
    await frames.cancel().catch(() => {});
  }
}

/**
 * Inputs with their hidden states, each made when it is pulled; an error is the last frame. Their memory is given back as
 * they are sent.
 */
export function writeEncoded(
  inputs: AsyncGenerator<StreamedInput, void, undefined>,
  toError: (error: unknown) => EdgeT5Error,
): ReadableStream<Uint8Array> {
  let isOver = false;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await inputs.next();
          if (isOver) return;
          if (!done) {
            const { ids, hidden } = value;
            controller.enqueue(encodeFrame({ ids }, [hidden]));
            (hidden.buffer as ArrayBuffer).transfer(0);
            return;
          }
        } catch (error) {
          if (isOver) return;
          controller.enqueue(encodeFrame(errorBody(toError(error))));
        }
        controller.close();
      },
      async cancel() {
        isOver = true;
        await inputs.return();
      },
    },
    { highWaterMark: 0 },
  );
}

/** Of a request for the answers to a list. */
const decodeListSchema = z.object({ inputs: z.int().min(1), ...decodeOptionsSchema.shape });

export type DecodeList = z.infer<typeof decodeListSchema>;

/** @throws EdgeT5Error `E_INPUT` */
export function parseDecodeList(header: string | undefined): DecodeList {
  return parsedHeader(decodeListSchema, header);
}

/** Of a request for the labels' scores of a list. */
const scoreListSchema = z.object({
  inputs: z.int().min(1),
  /** Token ids of each label. */
  labels: z.array(z.array(z.int().nonnegative()).min(1)).min(1),
  adapter: z.string().min(1).optional(),
  owner: z.string().min(1).optional(),
});

export type ScoreList = z.infer<typeof scoreListSchema>;

/** @throws EdgeT5Error `E_INPUT` */
export function parseScoreList(header: string | undefined): ScoreList {
  return parsedHeader(scoreListSchema, header);
}

function parsedHeader<Schema extends z.ZodType>(schema: Schema, header: string | undefined): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(header ?? ""));
  } catch {
    throw malformed();
  }
}
