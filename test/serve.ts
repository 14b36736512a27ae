/** A web server for tests in a browser: folders by the first part of a path, and one page. */
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";

const TYPES: Record<string, string> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

export interface Served {
  /** `http://127.0.0.1:PORT` */
  address: string;
  close(): void;
}

/** @param page HTML of `/`; @param folders `{ models: DIR }` gives the files of DIR as `/models/…` */
export async function serve(page: string, folders: Record<string, string>): Promise<Served> {
  const server = createServer((request, response) => {
    const [, folder = "", ...rest] = new URL(request.url ?? "/", "http://localhost").pathname.split("/");
    if (folder === "") return response.writeHead(200, { "content-type": "text/html" }).end(page);
    const path = join(folders[folder] ?? "/nowhere", ...rest);
    const file = createReadStream(path);
    file.on("error", () => response.writeHead(404).end());
    file.on("open", () => {
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" });
      file.pipe(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => void server.close(),
  };
}
