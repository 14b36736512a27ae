/** Bodies of requests. */
import type * as z from "zod";
import { parseWith } from "../../src/api/parse.ts";
import { ApiError } from "../../src/api-error.ts";

/** @throws ApiError 400 `invalid_json` */
export async function readJson(request: Request): Promise<unknown> {
  const text = await request.text();
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(
      400,
      "invalid_json",
      "The body is not JSON. Send an object, with content-type application/json.",
    );
  }
}

/** No body at all stands for `{}`. @throws ApiError as {@link readJson} and `parseWith` */
export async function readBody<Schema extends z.ZodType>(
  request: Request,
  schema: Schema,
  what: string,
): Promise<z.output<Schema>> {
  const hasBody = request.body !== null;
  return parseWith(schema, hasBody ? await readJson(request) : {}, what);
}
