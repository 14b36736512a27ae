/** `edge-t5 golden` on LoRA adapters: Hugging Face's outputs with those in test/fixtures, and references made by merging. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import type { GoldenReport } from "../../src/golden/run.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../../src/t5/adapter.ts";
import { writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { edgeT5 } from "../cli/process.ts";
import { loraConfig, loraFiles, mergeInto } from "../engines/lora.ts";
import { ENGINES, greedy, LIMITS, someIds, TINY } from "../engines/tiny.ts";
import { TINY_TOKENIZER, temporaryFolder } from "../model-split/checkpoints.ts";

const ADAPTERS = fileURLToPath(new URL("../fixtures/adapters", import.meta.url));
/** Labels that may differ at 8 bits, of the hundred. */
const MOST_LABELS = 4;

async function golden(...args: string[]) {
  const { code, stdout, stderr } = await edgeT5(["golden", ...args]);
  return { code, stderr, report: () => JSON.parse(stdout) as GoldenReport & { bits: number } };
}

describe.each(["relaxed", "plain"])("the packaged model's int8 weights on %s kernels", (kernels) => {
  test("of a hundred labels at most four differ from those of the float32 base", async () => {
    const { code, report } = await golden(ADAPTERS, "--model", DEFAULT_PACKAGE, "--json", "--kernels", kernels);
    expect(code).toBe(0);
    const { bits, kinds } = report();
    expect(bits).toBe(8);
    expect(kinds.map(({ model, kind, run }) => `${model} ${kind} ${run}`)).toEqual([
      "everywhere greedy 60",
      "sentiment greedy 100",
      "sentiment labels 100",
    ]);
    const [everywhere, answers, labels] = kinds;
    expect(labels?.equal).toBeGreaterThanOrEqual(100 - MOST_LABELS);
    expect(answers?.equal).toBeGreaterThanOrEqual(100 - MOST_LABELS);
    // Toy sentences, near ties: of the same rounded weights in float32 arithmetic, 34 are equal.
    expect(everywhere?.equal).toBeGreaterThanOrEqual(30);
  });
});

describe("a float32 checkpoint", () => {
  /** A checkpoint, and an adapter whose expected answers are those of the checkpoint with the adapter merged into it. */
  async function reference(): Promise<{ checkpoint: string; adapters: string; expected: string }> {
    const dir = await temporaryFolder();
    const [checkpoint, merged, split, adapters] = ["checkpoint", "merged", "split", "adapters"].map((name) =>
      join(dir, name),
    ) as [string, string, string, string];
    const files = loraFiles(TINY, { rank: 2 });
    await mkdir(join(adapters, "one"), { recursive: true });
    await writeFile(join(adapters, "one", ADAPTER_CONFIG), JSON.stringify(loraConfig({ rank: 2 })));
    await writeFile(join(adapters, "one", ADAPTER_TENSORS), files.tensors);
    await writeRandomCheckpoint(checkpoint, TINY);
    await writeFile(join(checkpoint, "tokenizer.json"), TINY_TOKENIZER);
    await writeRandomCheckpoint(merged, TINY);
    await mergeInto(merged, files);
    const { manifest } = await splitCheckpoint(merged, split, { bits: 32 });
    const load = await ENGINES.simd();
    const engine = await load({
      manifest,
      store: new FolderStore(split),
      roles: ["encoder", "decoder"],
      limits: { ...LIMITS, maxSequences: 12 },
    });
    const inputs = Array.from({ length: 11 }, (_, i) => someIds(3 + i, i));
    const answers = await greedy(engine, inputs, 12);
    const lines = inputs.map((input_ids, i) => JSON.stringify({ input_ids, greedy_ids: answers[i] }));
    const expected = join(adapters, "one/expected.jsonl");
    await writeFile(expected, `${lines.join("\n")}\n`);
    return { checkpoint, adapters, expected };
  }

  test("gives the merged one's answers; one id that differs is counted, and fails", async () => {
    const { checkpoint, adapters, expected } = await reference();
    const { code, report } = await golden(adapters, "--checkpoint", checkpoint, "--json");
    expect(report()).toMatchObject({ bits: 32, kinds: [{ model: "one", run: 11, equal: 11 }], mismatches: 0 });
    expect(code).toBe(0);
    const [first = "", ...others] = (await readFile(expected, "utf8")).trim().split("\n");
    const row = JSON.parse(first) as { greedy_ids: number[] };
    row.greedy_ids[0]! ^= 2;
    await writeFile(expected, [JSON.stringify(row), ...others].join("\n"));
    const wrong = await golden(join(adapters, "one"), "--checkpoint", checkpoint, "--json");
    expect(wrong.code).toBe(1);
    expect(wrong.report()).toMatchObject({ kinds: [{ run: 11, equal: 10 }], mismatches: 1 });
  });

  test("what is missing or contradicts itself is a clear error", async () => {
    const { checkpoint, adapters, expected } = await reference();
    await writeFile(expected, '{"input_ids":[1]}');
    const malformed = await golden(adapters, "--checkpoint", checkpoint);
    expect(malformed).toMatchObject({ code: 1, stderr: expect.stringMatching(/^E_INPUT: .*line 1: greedy_ids/m) });
    const none = await golden(checkpoint, "--checkpoint", checkpoint);
    expect(none).toMatchObject({ code: 1, stderr: expect.stringMatching(/^E_INPUT: .*no adapter folder/m) });
    const both = await golden(adapters, "--checkpoint", checkpoint, "--model", DEFAULT_PACKAGE);
    expect(both).toMatchObject({ code: 1, stderr: expect.stringMatching(/^E_USAGE: --model and --checkpoint/m) });
    const other = await golden(adapters, "--model", DEFAULT_PACKAGE);
    expect(other.code).toBe(1);
  });
});

test("another base refuses the adapters, by what does not fit", async () => {
  const dir = await temporaryFolder();
  await writeRandomCheckpoint(dir, TINY);
  await writeFile(join(dir, "tokenizer.json"), TINY_TOKENIZER);
  const { code, stderr } = await golden(ADAPTERS, "--checkpoint", dir);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^E_ADAPTER: .*everywhere: .*of layer 2, but the base's encoder has 2/m);
});

test("the onnx engine says that it takes none", async () => {
  const { code, stderr } = await golden(ADAPTERS, "--model", DEFAULT_PACKAGE, "--engine", "onnx");
  expect(code).toBe(1);
  expect(stderr).toMatch(/^E_ADAPTER: The onnx engine takes no adapters.*Use the simd engine/m);
});
