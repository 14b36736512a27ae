/** What is seen in an image, in a sentence: by whatever reader a deployment has; without one, an error that says so. */
import { EdgeT5Error } from "../../errors.ts";
import type { Content } from "../../t5/text-to-text/content.ts";
import { DEFAULT_LIMITS, type ReadLimits } from "../limits.ts";
import { imageInfo } from "./size.ts";

export interface ImageCaptioner {
  /** For the note of what was read: "@cf/llava-hf/llava-1.5-7b-hf". */
  readonly name: string;
  /** One sentence, or a few. */
  caption(bytes: Uint8Array, signal?: AbortSignal): Promise<string>;
}

/** What is used of the Workers AI binding. */
export interface AiBinding {
  run(model: string, input: Readonly<Record<string, unknown>>): Promise<unknown>;
}

/** Workers AI's image-to-text model; of the beta kind. */
export const CAPTION_MODEL = "@cf/llava-hf/llava-1.5-7b-hf";

const PROMPT = "Describe this image in one sentence.";
const MAX_TOKENS = 128;
/** Every byte goes to the model as a number in JSON: four characters or so. */
const MAX_BYTES = 2_000_000;

export interface CaptionOptions {
  readonly signal?: AbortSignal;
  readonly limits?: ReadLimits;
}

/**
 * @param captioner null where a deployment has none
 * @throws EdgeT5Error `E_INPUT` without a captioner; `E_FORMAT`, `E_DAMAGED`, `E_TOO_LARGE` for the image; what the captioner throws
 */
export async function caption(
  bytes: Uint8Array,
  captioner: ImageCaptioner | null,
  { signal, limits = DEFAULT_LIMITS }: CaptionOptions = {},
): Promise<Content> {
  if (!captioner) {
    throw new EdgeT5Error(
      "E_INPUT",
      'This deployment has no reader that says what is seen in an image. Switch it on: put an [ai] section with binding = "AI" into functions/ocr/wrangler.toml and deploy again; or ask for the text in the image.',
    );
  }
  imageInfo(bytes, limits);
  const text = (await captioner.caption(bytes, signal)).trim();
  const blocks = text === "" ? [] : [{ kind: "paragraph" as const, text }];
  const note = text === "" ? `${captioner.name} said nothing of the image.` : `Described by ${captioner.name}.`;
  return { kind: "document", document: { title: null, blocks }, notes: [note] };
}

/** By the Workers AI binding. Each call is charged by Cloudflare. */
export function workersAiCaptioner(ai: AiBinding, model: string = CAPTION_MODEL): ImageCaptioner {
  return {
    name: model,
    async caption(bytes, signal) {
      if (bytes.length > MAX_BYTES) {
        const most = MAX_BYTES.toLocaleString("en");
        throw new EdgeT5Error(
          "E_TOO_LARGE",
          `An image that is to be described has at most ${most} bytes. Send a smaller one.`,
        );
      }
      signal?.throwIfAborted();
      const answer = await askModel(ai, model, { image: [...bytes], prompt: PROMPT, max_tokens: MAX_TOKENS });
      signal?.throwIfAborted();
      return descriptionOf(answer, model);
    },
  };
}

async function askModel(ai: AiBinding, model: string, input: Readonly<Record<string, unknown>>): Promise<unknown> {
  try {
    return await ai.run(model, input);
  } catch (cause) {
    throw new EdgeT5Error("E_PROVIDER", `${model} did not describe the image. Try again in a moment.`, { cause });
  }
}

function descriptionOf(answer: unknown, model: string): string {
  if (typeof answer === "object" && answer !== null && "description" in answer) {
    const { description } = answer;
    if (typeof description === "string") return description;
  }
  throw new EdgeT5Error("E_PROVIDER", `${model} answered something else than a description.`);
}
