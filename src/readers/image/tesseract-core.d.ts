/** What is used here of tesseract.js-core 7: tesseract 5.1 and leptonica, by Emscripten's WebIDL binder. */
declare module "tesseract.js-core/tesseract-core-simd-lstm.js" {
  /** Leptonica's image, in WASM memory. */
  export interface Pix {
    get_w(): number;
    get_h(): number;
    /** Bits a pixel: 1, 2, 4, 8, 16 or 32. */
    get_d(): number;
    /** Samples a pixel: 4 with alpha. */
    get_spp(): number;
    /** Words of 32 bits a row. */
    get_wpl(): number;
    /** Address of the first row. */
    get_data(): number;
  }

  export interface ResultIterator {
    Begin(): void;
    Next(level: number): boolean;
    IsAtBeginningOf(level: number): boolean;
    GetUTF8Text(level: number): string;
    Confidence(level: number): number;
    /** Writes four words: left, top, right, bottom. */
    BoundingBox(level: number, left: number, top: number, right: number, bottom: number): void;
  }

  export interface TessBaseAPI {
    /** @returns 0, or -1 when the data cannot be used */
    Init(dataPath: string, languages: string, engine: number): number;
    InitForAnalysePage(): void;
    SetVariable(name: string, value: string): boolean;
    SetPageSegMode(mode: number): void;
    /** Of `/input`. @returns 0, or 1 when it cannot be read */
    SetImageFile(exif: number, angle: number): number;
    SetImage(
      pixels: number,
      width: number,
      height: number,
      bytesPerPixel: number,
      bytesPerRow: number,
      exif: number,
      angle: number,
    ): void;
    GetInputImage(): Pix;
    FindLines(): number;
    /** Of the lines that were found, in radians. */
    GetGradient(): number;
    /** @returns 0, or -1 */
    Recognize(monitor: null): number;
    MeanTextConf(): number;
    GetIterator(): ResultIterator;
    Clear(): void;
    End(): void;
  }

  export interface TesseractCore {
    readonly FS: {
      writeFile(path: string, bytes: Uint8Array): void;
      unlink(path: string): void;
    };
    readonly TessBaseAPI: new () => TessBaseAPI;
    _malloc(bytes: number): number;
    _free(address: number): void;
    destroy(object: object): void;
    getPointer(object: object): number;
  }

  export interface Options {
    instantiateWasm(
      imports: WebAssembly.Imports,
      receive: (instance: WebAssembly.Instance) => void,
    ): WebAssembly.Exports | Record<string, never>;
    print(line: string): void;
    printErr(line: string): void;
    onAbort?(reason: unknown): void;
  }

  const createCore: (options: Options) => Promise<TesseractCore>;
  export default createCore;
}
