/**
 * Loaded before a command: sends its process EDGE_T5_TEST_SIGNAL just before the EDGE_T5_TEST_STEP-th operation that
 * changes the file system, so that a test can end a split at every point where it may be ended.
 */
import fs, { type FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";

const at = Number(process.env.EDGE_T5_TEST_STEP);
const signal = process.env.EDGE_T5_TEST_SIGNAL as NodeJS.Signals;
let steps = 0;

function step(): void {
  steps++;
  if (steps === at) process.kill(process.pid, signal);
}

// Operations of the module itself.
for (const name of ["rename", "rm", "mkdir"] as const) {
  const original = fs[name] as (...args: unknown[]) => unknown;
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      step();
      return original(...args);
    },
  });
}
const open = fs.open;
Object.assign(fs, {
  open: (path: string, flags?: string) => {
    if (flags !== "r") step();
    return open(path, flags);
  },
});
syncBuiltinESMExports();

// Operations of an open file.
const probe = await open(import.meta.filename, "r");
const fileHandle = Object.getPrototypeOf(probe) as Record<
  "write" | "sync",
  (this: FileHandle, ...args: unknown[]) => unknown
>;
await probe.close();
for (const name of ["write", "sync"] as const) {
  const original = fileHandle[name];
  fileHandle[name] = function (...args) {
    step();
    return original.apply(this, args);
  };
}

process.on("exit", () => process.stderr.write(`steps: ${steps}\n`));
