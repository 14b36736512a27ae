/** Files of the fixtures by import. */
declare module "*.png" {
  const bytes: ArrayBuffer;
  export default bytes;
}

declare module "*.pdf" {
  const bytes: ArrayBuffer;
  export default bytes;
}
