/** Tensors as bytes, and the safetensors file that holds them. */

export interface RawTensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

export type RawTensors = Map<string, RawTensor>;

export function float32(shape: number[], values: Float32Array): RawTensor {
  return { dtype: "F32", shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

/** The bytes of a safetensors file. */
export function safetensors(tensors: RawTensors, header: object = headerOf(tensors)): Uint8Array {
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...[...tensors.values()].map((tensor) => tensor.bytes)]);
}

export type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

export function headerOf(tensors: RawTensors): Header {
  let end = 0;
  const header: Header = {};
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  return header;
}
