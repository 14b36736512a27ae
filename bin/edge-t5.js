#!/usr/bin/env node
import module from "node:module";

// The command `edge-t5`: its TypeScript as it stands in a checkout, compiled where it is installed as a dependency.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `edge-t5 needs Node 22.18 or later; this is ${process.version}. Upgrade Node, or run: npm i -D node@24`,
  );
  process.exit(1);
}
module.enableCompileCache();
await import(import.meta.url.includes("/node_modules/") ? "../dist/src/cli/main.js" : "../src/cli/main.ts");
