/** Progress on stderr: a bar in a terminal, a line every quarter elsewhere. */
import { SingleBar } from "cli-progress";
import { formatBytes } from "./output.ts";

export interface Progress {
  /** @param done of `total`, bytes unless told otherwise @param what the thing being worked on */
  update(done: number, total: number, what: string): void;
  /** Leaves the terminal as it was; safe to call twice, and without an update. */
  stop(): void;
}

type Format = (amount: number) => string;

/** @param format how an amount is written */
export function createProgress(stream: NodeJS.WriteStream = process.stderr, format: Format = formatBytes): Progress {
  return stream.isTTY ? barProgress(stream, format) : lineProgress(stream, format);
}

function barProgress(stream: NodeJS.WriteStream, format: Format): Progress {
  const bar = new SingleBar({
    stream,
    format: "{bar} {percentage} %  {amount} of {whole}  {what}",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 30,
    hideCursor: true,
    // The command handles signals itself.
    gracefulExit: false,
  });
  return {
    update(done, total, what) {
      const payload = { amount: format(done), whole: format(total), what };
      if (bar.isActive) {
        bar.setTotal(total);
        bar.update(done, payload);
      } else bar.start(total, done, payload);
    },
    stop() {
      if (bar.isActive) bar.stop();
    },
  };
}

function lineProgress(stream: NodeJS.WriteStream, format: Format): Progress {
  let quarters = 0;
  return {
    update(done, total) {
      const reached = Math.floor((done / total) * 4);
      if (reached === quarters) return;
      quarters = reached;
      stream.write(`${Math.floor((done / total) * 100)} % (${format(done)} of ${format(total)})\n`);
    },
    stop() {},
  };
}
