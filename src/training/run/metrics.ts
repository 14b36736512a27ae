/** What a run tells of each step and each evaluation: `metrics.jsonl`, a line each, none twice whatever is killed. */
import { type FileHandle, open, readFile } from "node:fs/promises";
import { EdgeT5Error } from "../../errors.ts";
import { cannotWrite, writeAtomically } from "./files.ts";

export const METRICS_FILE = "metrics.jsonl";

export interface StepLine {
  step: number;
  loss: number;
  cross_entropy: number;
  learning_rate: number;
  /** Before it was limited. */
  gradient_norm: number;
  tokens: number;
  tokens_per_second: number;
}

export interface EvaluationLine {
  step: number;
  evaluation: {
    /** Mean of the tasks' losses. */
    loss: number;
    /** Mean of the tasks' metrics, 0 to 100; where none is asked for, it is not there. */
    score?: number;
    /** Loss and figures of each task. */
    tasks: Record<string, Record<string, number>>;
    /** Better than all before. */
    best: boolean;
  };
}

type Line = StepLine | EvaluationLine;

export class MetricsLog {
  readonly steps: Pick<StepLine, "step" | "cross_entropy">[] = [];
  readonly evaluations: EvaluationLine[] = [];
  readonly #path: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle, lines: readonly Line[]) {
    this.#path = path;
    this.#file = file;
    for (const line of lines) this.#keep(line);
  }

  /**
   * @param step the checkpoint's that the run goes on from: lines of later steps are dropped, for those are done again
   * @throws EdgeT5Error `E_IO`
   */
  static async open(path: string, step: number): Promise<MetricsLog> {
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw error;
    });
    const all = text.split("\n");
    // What was being written when the process was killed has no line end.
    const lines = all.slice(0, -1).map((line, i) => parse(line, path, i + 1));
    const kept = lines.filter((line) => line.step <= step);
    if (kept.length < lines.length || all.at(-1) !== "") {
      await writeAtomically(path, kept.map((line) => `${JSON.stringify(line)}\n`).join(""));
    }
    return new MetricsLog(path, await open(path, "a"), kept);
  }

  /** @throws EdgeT5Error `E_IO` */
  async add(line: Line): Promise<void> {
    try {
      await this.#file.appendFile(`${JSON.stringify(line)}\n`);
    } catch (cause) {
      throw cannotWrite(this.#path, cause);
    }
    this.#keep(line);
  }

  /** On disk, before what counts on it. @throws EdgeT5Error `E_IO` */
  async sync(): Promise<void> {
    await this.#file.sync().catch((cause: unknown) => {
      throw cannotWrite(this.#path, cause);
    });
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #keep(line: Line): void {
    if ("evaluation" in line) this.evaluations.push(line);
    else this.steps.push({ step: line.step, cross_entropy: line.cross_entropy });
  }
}

/** @throws EdgeT5Error `E_IO` */
function parse(line: string, path: string, number: number): Line {
  try {
    return JSON.parse(line) as Line;
  } catch (cause) {
    throw new EdgeT5Error("E_IO", `${path}:${number} was changed: it is not JSON. Remove the line and resume.`, {
      cause,
    });
  }
}
