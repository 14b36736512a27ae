/** A form's file on its way into the bucket: streamed, in parts that fit an isolate's memory. */
import { Readable } from "node:stream";
import { Busboy } from "@fastify/busboy";
import { ApiError } from "../../src/api-error.ts";

/** R2 takes parts of one size, 5 MiB and more, and a shorter last one. */
const PART_BYTES = 8 << 20;
const MOST_FIELD_BYTES = 1024;

export interface Upload {
  filename: string;
  bytes: number;
  fields: ReadonlyMap<string, string>;
}

/**
 * Reads a form with one file, and puts the file into the bucket. What was put when it throws is deleted.
 *
 * @param name of the file's field
 * @throws ApiError 400 `invalid_body`, `missing_file`; 413 `request_too_large`
 */
export async function receiveFile(
  request: Request,
  bucket: R2Bucket,
  { name, key, mostBytes }: { name: string; key: string; mostBytes: number },
): Promise<Upload> {
  const type = request.headers.get("content-type") ?? "";
  if (!request.body || !/^multipart\/form-data\b/i.test(type)) {
    throw new ApiError(
      400,
      "invalid_body",
      `Send a form, as multipart/form-data: -F purpose=batch -F ${name}=@rows.jsonl.`,
    );
  }
  const tooLarge = () => new ApiError(413, "request_too_large", `A file may have up to ${mostBytes} bytes. Divide it.`);
  if (Number(request.headers.get("content-length") ?? 0) > mostBytes + 64 * MOST_FIELD_BYTES) throw tooLarge();
  const fields = new Map<string, string>();
  const object = new BucketWriter(bucket, key);
  let filename: string | null = null;
  let bytes = 0;
  let writing: Promise<void> = Promise.resolve();
  const limits = { fieldSize: MOST_FIELD_BYTES, fields: 16, files: 1, fileSize: mostBytes };
  const parser = Busboy({ headers: { "content-type": type }, limits });
  parser.on("field", (field, value) => fields.set(field, value));
  parser.on("file", (field, stream, given) => {
    if (field !== name) return void stream.resume();
    filename = given || name;
    writing = (async () => {
      for await (const chunk of stream) {
        bytes += (chunk as Uint8Array).length;
        await object.write(chunk as Uint8Array);
      }
      if (stream.truncated) throw tooLarge();
    })();
    writing.catch((error: Error) => parser.destroy(error));
  });
  try {
    await new Promise<void>((resolve, reject) => {
      parser.once("finish", resolve).once("error", reject);
      Readable.fromWeb(request.body as never)
        .once("error", reject)
        .pipe(parser);
    });
    await writing;
    if (filename === null) {
      throw new ApiError(400, "missing_file", `The form has no file ${name}. Send one: -F ${name}=@rows.jsonl.`, {
        param: name,
      });
    }
    await object.end();
    return { filename, bytes, fields };
  } catch (error) {
    await writing.catch(() => {});
    await object.abort();
    if (error instanceof ApiError) throw error;
    throw new ApiError(400, "invalid_body", "The form was cut off, or is none. Send it again.", { cause: error });
  }
}

/** An object that is written piece by piece, in one put where it is small. */
class BucketWriter {
  readonly #bucket: R2Bucket;
  readonly #key: string;
  readonly #parts: R2UploadedPart[] = [];
  #upload: R2MultipartUpload | null = null;
  #buffer = new Uint8Array(0);
  #held = 0;

  constructor(bucket: R2Bucket, key: string) {
    this.#bucket = bucket;
    this.#key = key;
  }

  async write(chunk: Uint8Array): Promise<void> {
    for (let from = 0; from < chunk.length; ) {
      const more = chunk.subarray(from, from + PART_BYTES - this.#held);
      this.#room(this.#held + more.length);
      this.#buffer.set(more, this.#held);
      this.#held += more.length;
      from += more.length;
      if (this.#held === PART_BYTES) await this.#sendPart();
    }
  }

  async end(): Promise<void> {
    if (!this.#upload) {
      await this.#bucket.put(this.#key, this.#buffer.subarray(0, this.#held));
      return;
    }
    if (this.#held > 0) await this.#sendPart();
    await this.#upload.complete(this.#parts);
  }

  async abort(): Promise<void> {
    await this.#upload?.abort().catch(() => {});
  }

  async #sendPart(): Promise<void> {
    this.#upload ??= await this.#bucket.createMultipartUpload(this.#key);
    const part = this.#buffer.subarray(0, this.#held);
    this.#parts.push(await this.#upload.uploadPart(this.#parts.length + 1, part));
    this.#held = 0;
  }

  /** Grows with what comes: most files are small. */
  #room(bytes: number): void {
    if (bytes <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.min(PART_BYTES, Math.max(bytes, 2 * this.#buffer.length, 1 << 16)));
    grown.set(this.#buffer.subarray(0, this.#held));
    this.#buffer = grown;
  }
}
