/** The readers' Worker, private: files in, what is in them out. It holds no model, so that a large file has an isolate's memory. */
import { readerApp } from "./routes.ts";

export default readerApp();
