/** Writes safetensors files of float32, as transformers and PEFT read them. */
import { open } from "node:fs/promises";

export type FloatTensors = ReadonlyMap<string, { shape: readonly number[]; values: Float32Array }>;

/** Brings the tensors to disk, in the map's order. The file must not be there. */
export async function writeSafetensors(path: string, tensors: FloatTensors): Promise<void> {
  // transformers refuses a file that does not say which framework's layout it has.
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const [name, { shape, values }] of tensors) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + values.byteLength] };
    end += values.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(0x20);
  padded.set(text);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  const file = await open(path, "wx");
  try {
    for (const bytes of [length, padded]) await file.writeFile(bytes);
    for (const { values } of tensors.values()) {
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten;
    }
    await file.sync();
  } finally {
    await file.close();
  }
}
