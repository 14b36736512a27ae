// The kernels of the simd engine: one source, two modules. `relaxed.wasm` is built with relaxed SIMD, `plain.wasm`
// without; both give the same bits. Pointers are byte addresses in the one imported memory; sizes count elements.

export { normQuantizeRows, quantizeRows, reluQuantizeRows } from "./quantize";
export { linearI8, rowSums, probeDot } from "./linear-i8";
export { linearPairsI8, pairRows } from "./linear-pairs-i8";
export { reluLinearI8, transposeI8 } from "./linear-units-i8";
export { linearI4 } from "./linear-i4";
export { linearF32 } from "./linear-f32";
export { addLowRank } from "./low-rank";
export { embedI8, embedI4, embedF32 } from "./embed";
export { rmsNorm } from "./norm";
export { relu, gatedGelu, gatedSilu } from "./activation";
export { attendF32, storeKeysF32, storeValuesF32 } from "./attention-f32";
export { attendI8, storeKeysI8, storeValuesI8 } from "./attention-i8";
export { argmax } from "./argmax";
export { copyBytes } from "./copy";
