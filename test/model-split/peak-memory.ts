/** Loaded before a command: tells its process's largest resident size, in bytes, when it ends. */
import { readFileSync } from "node:fs";

function peakBytes(): number {
  try {
    // Linux counts resourceUsage's maximum from before exec, when the process still was its parent's copy; this not.
    return Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

process.on("exit", () => process.stderr.write(`peak: ${peakBytes()}\n`));
