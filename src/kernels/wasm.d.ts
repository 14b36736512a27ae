/** Compiled WASM by import, as Workers have it. */
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
