/** Runs wrangler, the tool that talks to Cloudflare. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { stripVTControlCharacters } from "node:util";

export interface WranglerResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface WranglerOptions {
  /** The kit's folder. */
  root: string;
  env?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** Wrangler's program. */
export function wranglerPath(): string {
  return join(dirname(createRequire(import.meta.url).resolve("wrangler/package.json")), "bin/wrangler.js");
}

/** `wrangler ...args` until it has ended, whatever came of it; it asks nothing. */
export function wrangler(args: readonly string[], { root, env, signal }: WranglerOptions): Promise<WranglerResult> {
  // A deployment starts it dozens of times.
  const settings = { CI: "true", WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true" };
  const cache = { NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache") };
  const child = spawn(process.execPath, [wranglerPath(), ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...cache, ...process.env, ...settings, ...env },
    ...(signal && { signal }),
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      resolve({ code, stdout: stripVTControlCharacters(stdout), stderr: stripVTControlCharacters(stderr) });
    });
  });
}
