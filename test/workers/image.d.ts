/** An image of the fixtures by import. */
declare module "*.png" {
  const bytes: ArrayBuffer;
  export default bytes;
}
