import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { formatBytes, formatTable } from "../../src/cli/output.ts";
import { createProgress } from "../../src/cli/progress.ts";

/** A stream that says whether it is a terminal, and keeps what it is sent. */
function stream(isTTY: boolean) {
  const sent: string[] = [];
  const writable = new Writable({
    write(chunk, _, done) {
      sent.push(String(chunk));
      done();
    },
  });
  return { stream: Object.assign(writable, { isTTY, columns: 200 }) as unknown as NodeJS.WriteStream, sent };
}

describe("progress", () => {
  it("is a bar with size and name in a terminal", () => {
    const terminal = stream(true);
    const progress = createProgress(terminal.stream);
    progress.update(0, 2_000_000, "shared.weight");
    progress.update(2_000_000, 2_000_000, "lm_head.weight");
    progress.stop();
    const text = terminal.sent.join("");
    expect(text).toContain("100 %  2.00 MB of 2.00 MB  lm_head.weight");
    expect(text).toContain("█");
    expect(text).not.toContain("{");
  });

  it("is one line a quarter elsewhere", () => {
    const file = stream(false);
    const progress = createProgress(file.stream);
    for (let done = 1; done <= 100; done++) progress.update(done * 1000, 100_000, "x");
    progress.stop();
    expect(file.sent).toEqual(
      ["25", "50", "75", "100"].map((p) => `${p} % (${p}${p === "100" ? "" : ".0"} kB of 100 kB)\n`),
    );
  });
});

describe("formatBytes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.00 kB"],
    [999_499, "999 kB"],
    [999_500, "1.00 MB"],
    [8_027_489, "8.03 MB"],
    [3e9, "3.00 GB"],
  ])("%i is %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

describe("formatTable", () => {
  it("sets numbers to the right, with separators, and text to the left", () => {
    const table = formatTable(
      ["NAME", "BYTES"],
      [
        ["q", 1234567],
        ["longer", 8],
      ],
    );
    expect(table).toBe("NAME        BYTES\nq       1,234,567\nlonger          8");
  });
});
