/** Runs the real command in a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** What comes on stdin; nothing by default, and it stays open. */
  stdin?: string | Uint8Array;
  /** Modules loaded before the command. */
  preload?: URL;
}

/** `edge-t5 ...args` until it has ended. */
export function edgeT5(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return startEdgeT5(args, options).ended;
}

/** `edge-t5 ...args`, to be sent signals while it runs. */
export function startEdgeT5(
  args: readonly string[],
  { env = {}, cwd, preload, stdin }: RunOptions = {},
): { child: ChildProcess; ended: Promise<Finished> } {
  const nodeArgs = preload ? ["--import", preload.href] : [];
  const child = spawn(process.execPath, [...nodeArgs, MAIN, ...args], { env: { ...process.env, ...env }, cwd });
  if (stdin !== undefined) child.stdin.end(stdin);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<Finished>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return { child, ended };
}
