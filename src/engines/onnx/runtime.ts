/** onnxruntime of any kind, as this engine uses it. */
import type { InferenceSession, InferenceSessionFactory, TensorConstructor } from "onnxruntime-common";

export interface OnnxRuntime {
  name: "onnxruntime-node" | "onnxruntime-web";
  InferenceSession: InferenceSessionFactory;
  Tensor: TensorConstructor;
  options: InferenceSession.SessionOptions;
}

export type Session = InferenceSession;
export type Feeds = InferenceSession.OnnxValueMapType;

/** A file that a graph's external data name, and its bytes. */
export interface ExternalFile {
  path: string;
  data: Uint8Array;
}
