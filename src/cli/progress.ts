/** Progress on stderr: a bar in a terminal, a line every quarter elsewhere. */
import { SingleBar } from "cli-progress";
import { formatBytes } from "./output.ts";

export interface Progress {
  /** @param done bytes of `total` @param what the thing being worked on */
  update(done: number, total: number, what: string): void;
  /** Leaves the terminal as it was; safe to call twice, and without an update. */
  stop(): void;
}

export function createProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  return stream.isTTY ? barProgress(stream) : lineProgress(stream);
}

function barProgress(stream: NodeJS.WriteStream): Progress {
  const bar = new SingleBar({
    stream,
    format: "{bar} {percentage} %  {doneBytes} of {totalBytes}  {what}",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 30,
    hideCursor: true,
    // The command handles signals itself.
    gracefulExit: false,
  });
  return {
    update(done, total, what) {
      const payload = { doneBytes: formatBytes(done), totalBytes: formatBytes(total), what };
      if (bar.isActive) bar.update(done, payload);
      else bar.start(total, done, payload);
    },
    stop() {
      if (bar.isActive) bar.stop();
    },
  };
}

function lineProgress(stream: NodeJS.WriteStream): Progress {
  let quarters = 0;
  return {
    update(done, total) {
      const reached = Math.floor((done / total) * 4);
      if (reached === quarters) return;
      quarters = reached;
      stream.write(`${reached * 25} % (${formatBytes(done)} of ${formatBytes(total)})\n`);
    },
    stop() {},
  };
}
