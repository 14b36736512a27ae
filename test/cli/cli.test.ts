import { existsSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { COMMANDS } from "../../src/cli/commands.ts";
import { randomTensors, temporaryFolder, writeCheckpoint } from "../model-split/checkpoints.ts";
import { edgeT5 } from "./process.ts";

const GOLDEN = fileURLToPath(new URL("../golden/relu-tied", import.meta.url));

async function splitGolden(): Promise<string> {
  const out = join(await temporaryFolder(), "package");
  expect((await edgeT5(["split", GOLDEN, "--out", out, "--json"])).code).toBe(0);
  return out;
}

describe("edge-t5 split", () => {
  it("writes a package, shows progress on stderr and the result on stdout", async () => {
    const out = join(await temporaryFolder(), "new", "package");
    const { code, stdout, stderr } = await edgeT5(["split", GOLDEN, "--out", out]);
    expect(code).toBe(0);
    // Tensors are not cut: what a line says is what is done, not the quarter that it passed.
    expect(stderr).toContain("51 % (379 kB of 741 kB)");
    expect(stderr).toContain("100 % (741 kB of 741 kB)");
    expect(stdout).toMatch(/relu-tied: 185,344 parameters at 8 bits, 741 kB of weights became 251 kB in /);
    expect(existsSync(join(out, "manifest.json"))).toBe(true);
  });

  it("with --json prints one object on stdout and nothing on stderr", async () => {
    const out = await temporaryFolder();
    const { code, stdout, stderr } = await edgeT5([
      "split",
      GOLDEN,
      "--out",
      out,
      "--bits=32",
      "--name",
      "tiny",
      "--json",
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({
      out,
      name: "tiny",
      bits: 32,
      tiedHead: true,
      parameters: 185_344,
      packageBytes: 767_952,
    });
    expect((await readdir(join(out, "blobs"))).sort()).toEqual(
      result.blobs.map((blob: { hash: string }) => blob.hash).sort(),
    );
  });

  it("on a bad checkpoint names the tensor, exits with 1 and writes no manifest", async () => {
    const tensors = randomTensors();
    tensors.delete("encoder.block.0.layer.1.DenseReluDense.wo.weight");
    const dir = await writeCheckpoint(tensors);
    const out = await temporaryFolder();
    const text = await edgeT5(["split", dir, "--out", out]);
    expect(text.code).toBe(1);
    expect(text.stderr).toMatch(
      /^E_TENSOR_MISSING: .*encoder\.block\.0\.layer\.1\.DenseReluDense\.wo\.weight is missing.*\n$/,
    );
    expect(text.stdout).toBe("");
    const json = await edgeT5(["split", dir, "--out", out, "--json"]);
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stderr).error).toMatchObject({
      code: "E_TENSOR_MISSING",
      message: expect.stringContaining("wo.weight"),
    });
    expect(await readdir(out)).toEqual([]);
  });

  it("says what the system said when the package cannot be written", async () => {
    const file = join(await temporaryFolder(), "file");
    await writeFile(file, "");
    const { code, stderr } = await edgeT5(["split", GOLDEN, "--out", file, "--json"]);
    expect(code).toBe(1);
    expect(JSON.parse(stderr).error).toMatchObject({ code: "E_IO", message: expect.stringContaining(file) });
  });
});

describe("edge-t5 inspect", () => {
  it("prints shards, blobs and tensors", async () => {
    const out = await splitGolden();
    const { code, stdout, stderr } = await edgeT5(["inspect", out, "--verify"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^relu-tied: 185,344 parameters at 8 bits, tied head, no tokenizer, 251 kB in 6 blobs/);
    expect(stdout).toMatch(/encoder {2}0 to 1 {3}92,672/);
    expect(stdout).toMatch(/embedding {3}21,760 {2}ok/);
    expect(stdout).toMatch(/decoder\.block\.1\.layer\.2\.DenseReluDense\.wo\.weight +int8 +64 × 128 +8,448/);
  });

  it("reports damaged blobs, names them, and exits with 1", async () => {
    const out = await splitGolden();
    const { blobs } = JSON.parse((await edgeT5(["inspect", out, "--json"])).stdout);
    const [embedding, encoder] = blobs.map((blob: { hash: string }) => join(out, "blobs", blob.hash)) as [
      string,
      string,
    ];
    const bytes = await readFile(embedding);
    bytes[0]! ^= 1;
    await writeFile(embedding, bytes);
    // Of the same size: only hashing tells.
    expect((await edgeT5(["inspect", out])).code).toBe(0);
    const corrupt = await edgeT5(["inspect", out, "--verify", "--json"]);
    expect(corrupt.code).toBe(1);
    expect(JSON.parse(corrupt.stderr).error).toMatchObject({
      code: "E_BLOB_CORRUPT",
      message: expect.stringContaining(blobs[0].hash),
    });
    expect(JSON.parse(corrupt.stdout).blobs[0].state).toBe("corrupt");
    await rm(encoder);
    const missing = await edgeT5(["inspect", out]);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(new RegExp(`^E_BLOB_MISSING: .*missing: encoder ${blobs[1].hash}`));
  });

  it("counts what no manifest names", async () => {
    const out = await splitGolden();
    await writeFile(join(out, "blobs", "0".repeat(64)), "left over");
    expect((await edgeT5(["inspect", out])).stdout).toContain("No manifest names 1 blob (9 B)");
  });

  it("--memory shows what each Worker will hold, and how many streams fit", async () => {
    const out = await splitGolden();
    const size = ["--streams", "3", "--prompt-tokens", "100", "--new-tokens", "20"];
    const { code, stdout, stderr } = await edgeT5(["inspect", out, "--memory", ...size]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^relu-tied on the simd engine, with 3 streams of 100 \+ 20 tokens; MB/);
    expect(stdout).toMatch(/edge-t5-encoder +edge-t5-decoder/);
    expect(stdout).toMatch(/weights +0\.\d\d +0\.\d\d/);
    expect(stdout).toMatch(/MAX_WASM_BYTES +94\.00 +94\.00/);
    const json = JSON.parse((await edgeT5(["inspect", out, "--memory", "--one-worker", "--json"])).stdout);
    expect(json).toMatchObject({ engine: "simd", streams: { count: 1, promptTokens: 512, newTokens: 256 } });
    const [worker] = json.workers;
    expect(json.workers).toHaveLength(1);
    expect(worker.uses.reduce((sum: number, { bytes }: { bytes: number }) => sum + bytes, 0)).toBe(worker.bytes);
    expect(json.fit).toBe(json.limits.maxSequences);
    expect((await edgeT5(["inspect", out, "--memory", "--streams", "99"])).stdout).toContain("the others wait");
  });

  it.each([
    [
      ["--memory", "--prompt-tokens", "513"],
      /E_USAGE: A stream of 513 \+ 256 tokens is longer than these Workers take/,
    ],
    [["--memory", "--streams", "0"], /E_USAGE: --streams/],
    [["--streams", "2"], /E_USAGE: --streams belongs to --memory/],
    [["--memory", "--verify"], /E_USAGE: --memory reads the manifest only/],
  ])("refuses %j", async (args, message) => {
    const { code, stderr } = await edgeT5(["inspect", await splitGolden(), ...args]);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  });

  it("without a package exits with 1", async () => {
    const { code, stderr } = await edgeT5(["inspect", await temporaryFolder()]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^E_PACKAGE_NOT_FOUND: No manifest\.json in /);
  });
});

describe("usage", () => {
  it.each([
    [[], /^E_USAGE: No command given/],
    [["splt"], /^E_USAGE: Unknown command splt\. Did you mean split\?/],
    [["constructor"], /^E_USAGE: Unknown command constructor\./],
    [["--bits"], /^E_USAGE: Unknown option --bits/],
    [["split", "a", "--out", "b", "--bit", "8"], /^E_USAGE: Unknown option --bit\. Did you mean --bits\?/],
    [["split", "a", "--out", "b", "-x"], /^E_USAGE: Unknown option -x/],
    [["split", "a", "--out", "b", "--no-out"], /^E_USAGE: Unknown option --no-out/],
    [["split", "a", "--out", "b", "--bits", "5"], /^E_USAGE: --bits is "5"\. It can be 4 or 8 or 32\./],
    [["split", "a", "--out", "--json"], /--out needs a value/],
    [["split", "a", "--out="], /^E_USAGE: --out needs a value/],
    [["split", "a", "--out", "b", "--json=yes"], /--json takes no value, got/],
    [["split", "a"], /^E_USAGE: --out is missing/],
    [["split", "--out", "b"], /^E_USAGE: CHECKPOINT is missing/],
    [["split", "a", "b", "--out", "c"], /^E_USAGE: Unexpected argument "b"/],
    [["inspect", "a", "--", "--json"], /^E_USAGE: Unexpected argument "--json"/],
  ])("%j is refused with exit code 1", async (args, message) => {
    const { code, stdout, stderr } = await edgeT5(args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain("    at ");
  });

  it("--version prints the version", async () => {
    expect(await edgeT5(["--version"])).toMatchObject({ code: 0, stdout: `${packageJson.version}\n`, stderr: "" });
  });

  it("--help lists every command with an example", async () => {
    const { code, stdout } = await edgeT5(["--help"]);
    expect(code).toBe(0);
    for (const [name, { summary, examples }] of Object.entries(COMMANDS)) {
      expect(stdout).toContain(`  ${name}`);
      expect(stdout).toContain(summary);
      expect(stdout).toContain(examples[0]);
    }
  });

  it.each(["split", "inspect"])("%s --help shows its options and every example", async (name) => {
    const { code, stdout } = await edgeT5([name, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain(`edge-t5 ${name}`);
    expect(stdout).toContain("--json");
    expect(stdout).not.toMatch(/ $/m);
    for (const example of COMMANDS[name]!.examples) expect(stdout).toContain(`  ${example}`);
  });
});
