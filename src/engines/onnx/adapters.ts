/** The onnx engine's adapters: none. Its graphs are the base's alone. */
import { EdgeT5Error } from "../../errors.ts";
import type { AdapterSet, HeldAdapter } from "../../t5/engine.ts";

export const noAdapters: AdapterSet = {
  size: 0,
  acquire: async (id) => {
    throw refused(id);
  },
};

/** @throws EdgeT5Error `E_ADAPTER` for any */
export function refuseAdapter(adapter: HeldAdapter | null | undefined): void {
  if (adapter) throw refused(adapter.id);
}

function refused(id: string): EdgeT5Error {
  return new EdgeT5Error(
    "E_ADAPTER",
    `The onnx engine takes no adapters, such as ${id}. Use the simd engine for them.`,
  );
}
