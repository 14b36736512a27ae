/** Trained data by import, as Workers have what their rules call data. */
declare module "*.traineddata.gz" {
  const bytes: ArrayBuffer;
  export default bytes;
}
