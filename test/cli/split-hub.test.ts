import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, vi } from "vitest";
import { inspectPackage } from "../../model-split/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { closedEndpoint, type Files, filesOf, HubServer, hashOf, REPOSITORY } from "../model-split/hub-server.ts";
import { edgeT5, type Finished, type RunOptions, startEdgeT5 } from "./process.ts";

const GOLDEN = fileURLToPath(new URL("../golden/relu-tied", import.meta.url));
const WEIGHTS = "model.safetensors";
const preload = new URL("../model-split/signal-at-step.ts", import.meta.url);

interface Place {
  server: HubServer;
  files: Files;
  env: Record<string, string>;
  /** The folder of the cache's blobs. */
  blobs: string;
  out: string;
}

/** A hub with a checkpoint, an empty cache, and room for a package. */
async function place(): Promise<Place> {
  const { "config.json": config, [WEIGHTS]: weights } = await filesOf(GOLDEN);
  const files = { "config.json": config!, [WEIGHTS]: weights! };
  const server = await HubServer.serve(files);
  const home = await temporaryFolder();
  const env = {
    HF_ENDPOINT: server.endpoint,
    HF_HOME: home,
    HF_HUB_CACHE: join(home, "hub"),
    HF_TOKEN: "",
    HF_TOKEN_PATH: "",
    HF_HUB_OFFLINE: "",
  };
  const blobs = join(home, "hub", "models--acme--tiny-t5", "blobs");
  return { server, files, env, blobs, out: join(await temporaryFolder(), "package") };
}

function split({ env, out }: Place, args: string[] = [], options: RunOptions = {}): Promise<Finished> {
  return edgeT5(["split", REPOSITORY, "--out", out, ...args], { ...options, env: { ...env, ...options.env } });
}

describe("edge-t5 split OWNER/NAME", () => {
  it("shows the download, then the split, of a model with the repository's name", async () => {
    const here = await place();
    const { code, stdout, stderr } = await split(here);
    expect(code).toBe(0);
    const host = here.server.endpoint.slice("http://".length);
    expect(stderr).toMatch(new RegExp(`^No directory ${REPOSITORY} here: taking it from ${host} \\(.*hub\\)\n`));
    expect(stderr.match(/100 % \(74\d kB of 74\d kB\)\n/g)).toHaveLength(2);
    expect(stdout).toMatch(/tiny-t5: 185,344 parameters at 8 bits, 741 kB of weights became 251 kB in /);
  });

  it("with --json prints what it prints for a directory, and nothing on stderr", async () => {
    const here = await place();
    const fromHub = await split(here, ["--json"]);
    expect(fromHub).toMatchObject({ code: 0, stderr: "" });
    const fromDirectory = await edgeT5(["split", GOLDEN, "--out", here.out, "--name", "tiny-t5", "--json"]);
    expect(JSON.parse(fromHub.stdout)).toEqual(JSON.parse(fromDirectory.stdout));
    const named = await split(here, ["--json", "--name", "mine"]);
    expect(JSON.parse(named.stdout).name).toBe("mine");
  });

  it("gives way to a directory of that name", async () => {
    const here = await place();
    const cwd = await temporaryFolder();
    await mkdir(join(cwd, REPOSITORY), { recursive: true });
    const { code, stderr } = await split(here, [], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^E_CHECKPOINT_NOT_FOUND: No config\.json in acme\/tiny-t5/);
    expect(here.server.received).toEqual([]);
  });

  it("without a connection fails with one line", async () => {
    const here = await place();
    const HF_ENDPOINT = await closedEndpoint();
    const offline = await split(here, ["--json"], { env: { HF_ENDPOINT } });
    expect(offline).toMatchObject({ code: 1, stdout: "" });
    expect(JSON.parse(offline.stderr).error).toMatchObject({
      code: "E_IO",
      message: expect.stringContaining(`${HF_ENDPOINT} could not be reached (ECONNREFUSED)`),
    });
    const cacheOnly = await split(here, ["--json"], { env: { HF_HUB_OFFLINE: "1" } });
    expect(JSON.parse(cacheOnly.stderr).error).toMatchObject({ code: "E_CHECKPOINT_NOT_FOUND" });
    expect(here.server.received).toEqual([]);
  });

  it("never shows the token", async () => {
    const here = await place();
    here.server.fault = () => ({ status: 403 });
    const { code, stdout, stderr } = await split(here, [], { env: { HF_TOKEN: "hf_secret" } });
    expect(code).toBe(1);
    expect(here.server.received[0]!.authorization).toBe("Bearer hf_secret");
    expect(stderr).toContain("E_CHECKPOINT_ACCESS");
    expect(stdout + stderr).not.toContain("hf_secret");
  });
});

describe("a download that is ended", () => {
  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGKILL", null],
  ] as const)("by %s is resumed by the next run", async (signal, code) => {
    const here = await place();
    const { server, files, env, out, blobs } = here;
    server.fault = ({ path }) => (path.includes(`/${WEIGHTS}?bytes`) ? { holdAfter: 250_000 } : null);
    const hash = hashOf(WEIGHTS, files[WEIGHTS]!);
    const { child, ended } = startEdgeT5(["split", REPOSITORY, "--out", out], { env });
    await vi.waitFor(async () => expect((await stat(join(blobs, `${hash}.edge-t5.incomplete`))).size).toBe(250_000), {
      timeout: 30_000,
    });
    child.kill(signal);
    expect((await ended).code).toBe(code);
    expect(await readdir(blobs)).not.toContain(hash);

    server.fault = () => null;
    expect((await split(here)).code).toBe(0);
    expect(server.downloads(WEIGHTS).at(-1)!.range).toBe("bytes=250000-");
    const { blobs: packaged } = await inspectPackage(new FolderStore(out), { verify: true });
    expect(packaged.map((blob) => blob.state)).toEqual(packaged.map(() => "ok"));
  });

  it("by kill -9 at any step leaves no half file under a whole one's name", async () => {
    const here = await place();
    const kill = (step: number) =>
      split(here, [], { preload, env: { EDGE_T5_TEST_STEP: String(step), EDGE_T5_TEST_SIGNAL: "SIGKILL" } });
    // Each run goes on where the one before was ended.
    for (let step = 1; step < 40; step += 3) {
      expect((await kill(step)).signal).toBe("SIGKILL");
      for (const name of await readdir(here.blobs).catch(() => [])) {
        if (name.endsWith(".incomplete")) continue;
        const bytes = await readFile(join(here.blobs, name));
        expect([hashOf("x", bytes), hashOf("x.safetensors", bytes)]).toContain(name);
      }
    }
    expect((await split(here)).code).toBe(0);
  });
});
