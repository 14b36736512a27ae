import { open, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { tensorsOf } from "../../src/t5/architecture.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { edgeT5 } from "../cli/process.ts";
import { type Header, TINY_CONFIG, temporaryFolder } from "./checkpoints.ts";

/** About 600 MB in float32: one tensor of 256 MB, the rest of 4 to 16 MB. */
const LARGE = {
  ...TINY_CONFIG,
  vocab_size: 64_000,
  d_model: 1024,
  d_kv: 64,
  num_heads: 16,
  d_ff: 4096,
  num_layers: 4,
  num_decoder_layers: 3,
};

/** The header is real; the weights are a hole in the file, which reads as zeros and takes no disk. */
async function writeSparseCheckpoint(): Promise<string> {
  const dir = await temporaryFolder();
  const header: Header = {};
  let end = 0;
  for (const { name, shape } of tensorsOf(parseHuggingFaceConfig(LARGE), true)) {
    const bytes = shape.reduce((product, n) => product * n, 4);
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const file = await open(join(dir, "model.safetensors"), "w");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await file.write(Buffer.concat([length, json]));
  await file.truncate(8 + json.length + end);
  await file.close();
  await writeFile(join(dir, "config.json"), JSON.stringify(LARGE));
  return dir;
}

it.each(["8", "32"])("splitting 600 MB at %s bits takes less than 250 MB of memory", async (bits) => {
  const dir = await writeSparseCheckpoint();
  expect((await stat(join(dir, "model.safetensors"))).size).toBeGreaterThan(600e6);
  const preload = new URL("./peak-memory.ts", import.meta.url);
  const { code, stderr } = await edgeT5(["split", dir, "--out", await temporaryFolder(), "--bits", bits], { preload });
  expect(stderr).toContain("100 %");
  expect(code).toBe(0);
  expect(Number(/peak: (\d+)/.exec(stderr)![1])).toBeLessThan(250e6);
});
