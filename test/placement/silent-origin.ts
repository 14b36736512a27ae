/** An origin that hears and does not answer. How many requests it heard: `GET /heard`. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { TestProject } from "vitest/node";

/** Runs while the tests do. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let heard = 0;
  const server = createServer((request, response) => {
    if (request.url === "/heard") response.end(String(heard));
    else heard++;
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  project.provide("silentOriginUrl", `http://127.0.0.1:${address.port}`);
  return async () => {
    server.closeAllConnections();
    server.close();
  };
}
