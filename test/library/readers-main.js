import { readFile } from "node:fs/promises";
import { readers } from "./readers.js";

console.log(JSON.stringify(await readers(new Uint8Array(await readFile(process.argv[2])))));
