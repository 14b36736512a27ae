/** What the commands print, and how they fail: tables and sizes for people, one JSON object for programs, exit codes. */
import { ApiError } from "../api-error.ts";
import { EdgeT5Error } from "../errors.ts";

/** A signal ended the command; the shell's convention for its exit code is 128 + the signal's number. */
export class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: "SIGINT" | "SIGTERM") {
    super(`Interrupted by ${signal}.`);
    this.exitCode = signal === "SIGINT" ? 130 : 143;
  }
}

/**
 * Runs a command: an error goes to stderr as `E_CODE: message`, or as `{"error":{"code","message"}}` with `json`, and
 * the process will exit with 1 (130 or 143 after a signal). Only a defect of ours shows a stack.
 */
export async function withErrors(json: boolean, command: () => unknown): Promise<void> {
  try {
    await command();
  } catch (error) {
    process.exitCode = error instanceof Interrupted ? error.exitCode : 1;
    const { code, message } = describeError(error);
    console.error(json ? JSON.stringify({ error: { code, message } }) : `${code}: ${message}`);
    if (code === "E_INTERNAL" && !json) console.error(error);
  }
}

/** One of our errors as it is; the operating system's as `E_IO`, citty's as `E_USAGE`; anything else is a defect. */
function describeError(error: unknown): { code: string; message: string } {
  if (error instanceof EdgeT5Error) return { code: error.code, message: error.message };
  // What a task's request is refused for, here as there.
  if (error instanceof ApiError && error.status < 500) return { code: "E_INPUT", message: error.message };
  if (!(error instanceof Error)) return { code: "E_INTERNAL", message: String(error) };
  if (error instanceof Interrupted) return { code: "E_INTERRUPTED", message: error.message };
  if (error.name === "CLIError") return { code: "E_USAGE", message: error.message };
  // "ENOSPC: no space left on device, write": names cause and, mostly, path.
  if ("syscall" in error && "errno" in error) return { code: "E_IO", message: error.message };
  return { code: "E_INTERNAL", message: `${error.message} (a defect of edge-t5; please report it)` };
}

/** A signal that aborts on Ctrl-C or SIGTERM, so that a command can clean up; a second Ctrl-C ends the process at once. */
export function abortOnSignals(): { signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    const interruption = new Interrupted(name as "SIGINT" | "SIGTERM");
    if (controller.signal.aborted) process.exit(interruption.exitCode);
    controller.abort(interruption);
  };
  // Not `once`: libraries that clean up at exit (wrangler's) kill the process when nobody else seems to listen.
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    dispose() {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}

/** One JSON object on one line of stdout. */
export function printJson(value: object): void {
  console.log(JSON.stringify(value));
}

/** Columns padded to their widest cell; numbers (and sizes) to the right. */
export function formatTable(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [
    header,
    ...rows.map((row) => row.map((cell) => (typeof cell === "number" ? formatCount(cell) : cell))),
  ];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const isRight = header.map((_, column) => rows.every((row) => typeof row[column] === "number"));
  return cells
    .map((row) =>
      row
        .map((cell, i) => (isRight[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `1,234,567` */
export function formatCount(value: number): string {
  return value.toLocaleString("en-US");
}

/** Decimal units, three digits: `8.03 MB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}
