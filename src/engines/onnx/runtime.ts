/** onnxruntime of any kind, as this engine uses it. */
import type { InferenceSession, TensorConstructor } from "onnxruntime-common";

export interface OnnxRuntime {
  name: "onnxruntime-node" | "onnxruntime-web";
  Tensor: TensorConstructor;
  /** Opens an ONNX model whose external data are the files. */
  createSession(model: Uint8Array, files: readonly ExternalFile[]): Promise<Session>;
}

export type Session = InferenceSession;
export type Feeds = InferenceSession.OnnxValueMapType;

/** A file that a graph's external data name, and its bytes. */
export interface ExternalFile {
  path: string;
  data: Uint8Array;
}
