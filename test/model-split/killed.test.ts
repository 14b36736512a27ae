import { existsSync } from "node:fs";
import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { inspectPackage, splitCheckpoint } from "../../model-split/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { edgeT5 } from "../cli/process.ts";
import { temporaryFolder, writeCheckpoint } from "./checkpoints.ts";

const preload = new URL("./signal-at-step.ts", import.meta.url);

function splitEndedAt(step: number, signal: string, checkpoint: string, out: string) {
  return edgeT5(["split", checkpoint, "--out", out, "--name", "m", "--json"], {
    preload,
    env: { EDGE_T5_TEST_STEP: String(step), EDGE_T5_TEST_SIGNAL: signal },
  });
}

async function steps(checkpoint: string): Promise<number> {
  const { stderr, code } = await splitEndedAt(0, "SIGKILL", checkpoint, join(await temporaryFolder(), "out"));
  expect(code).toBe(0);
  return Number(/steps: (\d+)/.exec(stderr)![1]);
}

/** Every manifest that a reader may find names only whole blobs. */
async function expectWholeIfThere(out: string): Promise<void> {
  if (!existsSync(join(out, "manifest.json"))) return;
  const { blobs } = await inspectPackage(new FolderStore(out), { verify: true });
  expect(blobs.map((blob) => blob.state)).toEqual(blobs.map(() => "ok"));
}

async function temporaryFiles(out: string): Promise<string[]> {
  return (await readdir(out, { recursive: true })).filter((name) => name.endsWith(".tmp"));
}

/** Some steps from all over the run, and each of the last ones, where blobs and manifest get their names. */
function chosen(count: number): number[] {
  const early = [1, 2, 3, 0.2, 0.5, 0.8].map((part) => (part < 1 ? Math.floor(count * part) : part));
  return [...new Set([...early, ...Array.from({ length: 14 }, (_, i) => count - 13 + i)])].filter((step) => step > 0);
}

describe("kill -9 at any step of a split", () => {
  it("leaves no manifest or a whole package, and the next split succeeds and cleans up", async () => {
    const checkpoint = await writeCheckpoint();
    const out = join(await temporaryFolder(), "out");
    const count = await steps(checkpoint);
    expect(count).toBeGreaterThan(30);
    for (const step of chosen(count)) {
      await rm(out, { recursive: true, force: true });
      const killed = await splitEndedAt(step, "SIGKILL", checkpoint, out);
      expect(killed.signal, `step ${step}`).toBe("SIGKILL");
      await expectWholeIfThere(out);
      await splitCheckpoint(checkpoint, out, { bits: 8, name: "m" });
      expect(existsSync(join(out, "manifest.json"))).toBe(true);
      await expectWholeIfThere(out);
      expect(await temporaryFiles(out)).toEqual([]);
    }
  });

  it("never breaks the package that was there before", async () => {
    const checkpoint = await writeCheckpoint();
    const folder = await temporaryFolder();
    const before = join(folder, "before");
    await splitCheckpoint(checkpoint, before, { bits: 32, name: "m" });
    const out = join(folder, "out");
    const count = await steps(checkpoint);
    for (const step of chosen(count).slice(-8)) {
      await rm(out, { recursive: true, force: true });
      await cp(before, out, { recursive: true });
      expect((await splitEndedAt(step, "SIGKILL", checkpoint, out)).signal).toBe("SIGKILL");
      expect(existsSync(join(out, "manifest.json"))).toBe(true);
      await expectWholeIfThere(out);
    }
  });
});

it.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
])("%s in the middle of a split removes its temporary files and exits with %i", async (signal, code) => {
  const checkpoint = await writeCheckpoint();
  const out = await temporaryFolder();
  const ended = await splitEndedAt(12, signal, checkpoint, out);
  expect(ended.code).toBe(code);
  expect(ended.stdout).toBe("");
  expect(ended.stderr).toContain(`"code":"E_INTERRUPTED","message":"Interrupted by ${signal}."`);
  expect(await readdir(out, { recursive: true })).toEqual(["blobs"]);
});
