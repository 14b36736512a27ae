// What workerd has beyond its own types: compiled WASM by import, and the part of node:crypto that is used.
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}

declare module "node:crypto" {
  interface Hash {
    update(bytes: Uint8Array): Hash;
    digest(encoding: "hex"): string;
  }
  export function createHash(algorithm: "sha256"): Hash;
}
