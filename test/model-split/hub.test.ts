import { readdir, readFile, readlink, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  type DownloadOptions,
  type DownloadProgress,
  downloadCheckpoint,
  type HubSettings,
  parseHubRepository,
} from "../../model-split/hub/index.ts";
import { splitCheckpoint } from "../../model-split/index.ts";
import { randomTensors, TINY_TOKENIZER, temporaryFolder, writeParts } from "./checkpoints.ts";
import { closedEndpoint, type Files, filesOf, HubServer, hashOf, REPOSITORY } from "./hub-server.ts";

const GOLDEN = fileURLToPath(new URL("../golden/relu-tied", import.meta.url));
const CONFIG = ["config.json", "generation_config.json"];
const WEIGHTS = "model.safetensors";

/** What else lies in a repository. */
const ELSE: Files = Object.fromEntries(
  ["README.md", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "onnx.safetensors"].map((name) => [
    name,
    Buffer.from(`not wanted: ${name}`),
  ]),
);

const TOKENIZER: Files = {
  "tokenizer.json": Buffer.from(TINY_TOKENIZER),
  "tokenizer_config.json": Buffer.from('{"extra_ids":100}'),
  "spiece.model": Buffer.from("what tokenizer.json was made from"),
};

async function golden(): Promise<Files> {
  const files = await filesOf(GOLDEN);
  return Object.fromEntries(Object.entries(files).filter(([name]) => !name.startsWith("expected")));
}

async function settingsFor(endpoint: string): Promise<HubSettings> {
  const cacheDir = await temporaryFolder();
  return { endpoint, token: null, cacheDir, offline: false, retryDelays: [0, 0, 0] };
}

function download(settings: HubSettings, options?: DownloadOptions, repository = REPOSITORY): Promise<string> {
  return downloadCheckpoint(parseHubRepository(repository)!, settings, options);
}

/** Every file of a cache that has the name of a whole one. */
async function wholeFiles({ cacheDir }: HubSettings): Promise<string[]> {
  const paths = await readdir(cacheDir, { recursive: true });
  const blobs = paths.filter((path) => /blobs\/[^/]+$/.test(path) && !path.endsWith(".incomplete"));
  const names = paths.filter((path) => /snapshots\/\w+\/./.test(path));
  return [...blobs, ...names].map((path) => path.split("/").at(-1)!).sort();
}

/** By hash: a comparison that fails would print every byte. */
async function expectSame(dir: string, files: Files, names = Object.keys(files)): Promise<void> {
  for (const name of names) expect(hashOf(name, await readFile(join(dir, name)))).toBe(hashOf(name, files[name]!));
}

/** Where the bytes of a download in progress lie. */
function partialOf({ cacheDir }: HubSettings, name: string, bytes: Uint8Array): string {
  const folder = join(cacheDir, `models--${REPOSITORY.replace("/", "--")}`, "blobs");
  return join(folder, `${hashOf(name, bytes)}.edge-t5.incomplete`);
}

/** A download of which exactly the first bytes of the weights have arrived when it ends. */
async function abortedAt(bytes: number, server: HubServer, settings: HubSettings, name = WEIGHTS): Promise<void> {
  const abort = new AbortController();
  server.fault = ({ path }) => (path.includes(`/${name}?bytes`) ? { holdAfter: bytes } : null);
  let before = 0;
  const onProgress = ({ file, bytesDone }: DownloadProgress) => {
    if (file !== name) before = bytesDone;
    else if (bytesDone - before >= bytes) abort.abort(new Error("stopped by the test"));
  };
  // The last bytes of another file are the first of this one's count.
  await expect(download(settings, { onProgress, signal: abort.signal })).rejects.toThrow("stopped by the test");
  server.fault = () => null;
}

afterEach(() => vi.unstubAllEnvs());

describe("a checkpoint of the hub", () => {
  it("gives the package that its directory gives, from the few files that splitting reads", async () => {
    const files = { ...(await golden()), ...TOKENIZER };
    const server = await HubServer.serve({ ...ELSE, ...files });
    const settings = await settingsFor(server.endpoint);
    const dir = await download(settings);
    expect(server.downloaded()).toEqual([...CONFIG, WEIGHTS, "tokenizer.json", "tokenizer_config.json"]);
    await expectSame(dir, files, server.downloaded());

    const local = await temporaryFolder();
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(local, name), bytes);
    const packages = [dir, local].map(async (from) =>
      splitCheckpoint(from, await temporaryFolder(), { name: "tiny-t5", bits: 8 }),
    );
    const [fromHub, fromDirectory] = await Promise.all(packages);
    expect(fromHub!.manifest).toEqual(fromDirectory!.manifest);
  });

  it("comes in the parts that its index names", async () => {
    const dir = await writeParts(randomTensors());
    const files = await filesOf(dir);
    const server = await HubServer.serve({ ...ELSE, ...files });
    const downloaded = await download(await settingsFor(server.endpoint));
    expect(server.downloaded()).toEqual(Object.keys(files).sort());
    const [fromHub, fromDirectory] = await Promise.all(
      [downloaded, dir].map(async (from) => splitCheckpoint(from, await temporaryFolder(), { name: "m" })),
    );
    expect(fromHub!.manifest).toEqual(fromDirectory!.manifest);
  });

  it("takes spiece.model where there is no tokenizer.json", async () => {
    const { "spiece.model": pieces } = TOKENIZER;
    const server = await HubServer.serve({ ...(await golden()), "spiece.model": pieces! });
    await download(await settingsFor(server.endpoint));
    expect(server.downloaded()).toContain("spiece.model");
  });

  it("lies in the cache as every Hugging Face tool expects it, and is not downloaded again", async () => {
    const files = await golden();
    const server = await HubServer.serve(files);
    const settings = await settingsFor(server.endpoint);
    const dir = await download(settings);
    const root = join(settings.cacheDir, "models--acme--tiny-t5");
    const commit = await readFile(join(root, "refs", "main"), "utf8");
    expect(dir).toBe(join(root, "snapshots", commit));
    for (const [name, bytes] of Object.entries(files)) {
      expect(await readlink(join(dir, name))).toBe(join("..", "..", "blobs", hashOf(name, bytes)));
    }
    server.received.length = 0;
    const onProgress = vi.fn();
    expect(await download(settings, { onProgress })).toBe(dir);
    expect(server.downloaded()).toEqual([]);
    expect(onProgress).not.toHaveBeenCalled();
  });

  it("is asked for at one commit, whatever moves meanwhile", async () => {
    const server = await HubServer.serve(await golden());
    await download(await settingsFor(server.endpoint));
    const commits = server.received.flatMap(({ path }) => /\/(?:tree|resolve)\/(\w+)/.exec(path)?.[1] ?? []);
    expect(commits.length).toBeGreaterThan(4);
    expect(new Set(commits).size).toBe(1);
    expect(commits[0]).toMatch(/^[0-9a-f]{40}$/);
  });

  it("can be of another revision: a branch, a pull request, a commit", async () => {
    const server = await HubServer.serve(ELSE);
    const commit = server.commit(await golden(), "refs/pr/7");
    const settings = await settingsFor(server.endpoint);
    const dir = await download(settings, {}, `${REPOSITORY}@refs/pr/7`);
    expect(dir).toContain(commit);
    expect(await download(settings, {}, `${REPOSITORY}@${commit}`)).toBe(dir);
    expect(await download({ ...settings, offline: true }, {}, `${REPOSITORY}@refs/pr/7`)).toBe(dir);
  });

  it("reports the bytes of all files", async () => {
    const files = await golden();
    const total = Object.values(files).reduce((sum, bytes) => sum + bytes.length, 0);
    const server = await HubServer.serve(files);
    const seen: DownloadProgress[] = [];
    await download(await settingsFor(server.endpoint), { onProgress: (progress) => seen.push(progress) });
    expect(new Set(seen.map(({ bytesTotal }) => bytesTotal))).toEqual(new Set([total]));
    expect(seen.map(({ bytesDone }) => bytesDone)).toEqual(
      seen.map(({ bytesDone }) => bytesDone).sort((a, b) => a - b),
    );
    expect(seen.at(-1)).toEqual({ file: WEIGHTS, bytesDone: total, bytesTotal: total });
  });
});

describe("a download that is cut short", () => {
  it("goes on within the run where the connection broke, and fetches no byte twice", async () => {
    const files = await golden();
    const server = await HubServer.serve(files);
    // One more than the retries of a request that gets nowhere.
    const faults = [{ holdAfter: 100_000 }, { reset: true }, { holdAfter: 300_000 }, { holdAfter: 100_000 }] as const;
    let met = 0;
    server.fault = ({ path }) => (path.includes(`/${WEIGHTS}?bytes`) ? faults[met++] : null);
    let before = 0;
    const dir = await download(await settingsFor(server.endpoint), {
      onProgress({ file, bytesDone }) {
        if (file !== WEIGHTS) before = bytesDone;
        // What was sent has arrived.
        else if ([100_000, 400_000, 500_000].includes(bytesDone - before)) server.drop();
      },
    });
    await expectSame(dir, files);
    const downloads = server.downloads(WEIGHTS);
    expect(downloads.map(({ range }) => range)).toEqual([
      undefined,
      ...[100_000, 100_000, 400_000, 500_000].map((start) => `bytes=${start}-`),
    ]);
    expect(downloads.reduce((sum, { sent }) => sum + sent, 0)).toBe(files[WEIGHTS]!.length);
  });

  it("has no file under its final name, and the next run asks for the rest", async () => {
    const files = await golden();
    const server = await HubServer.serve(files);
    const settings = await settingsFor(server.endpoint);
    await abortedAt(250_000, server, settings);
    const names = CONFIG.flatMap((name) => [name, hashOf(name, files[name]!)]);
    expect(await wholeFiles(settings)).toEqual(names.sort());
    expect((await stat(partialOf(settings, WEIGHTS, files[WEIGHTS]!))).size).toBe(250_000);

    server.received.length = 0;
    const seen: DownloadProgress[] = [];
    const dir = await download(settings, { onProgress: (progress) => seen.push(progress) });
    expect(server.downloaded()).toEqual([WEIGHTS]);
    expect(server.downloads(WEIGHTS)).toMatchObject([
      { range: "bytes=250000-", sent: files[WEIGHTS]!.length - 250_000 },
    ]);
    expect(seen[0]!.bytesDone).toBeGreaterThan(250_000);
    await expectSame(dir, files);
    expect(await readdir(join(dir, "..", "..", "blobs"))).toHaveLength(Object.keys(files).length);
  });

  it("keeps the parts that are whole", async () => {
    const server = await HubServer.serve(await filesOf(await writeParts(randomTensors())));
    const settings = await settingsFor(server.endpoint);
    const [first, second] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
    await abortedAt(50, server, settings, second);
    server.received.length = 0;
    await download(settings);
    expect(server.downloaded()).toEqual([second]);
    expect(server.downloads(first)).toEqual([]);
  });

  it("is of no use to another commit's file", async () => {
    const files = await golden();
    const server = await HubServer.serve(files);
    const settings = await settingsFor(server.endpoint);
    await abortedAt(250_000, server, settings);
    const other = Buffer.from(files[WEIGHTS]!);
    other[other.length - 1]! ^= 1;
    const commit = server.commit({ ...files, [WEIGHTS]: other });
    const dir = await download(settings);
    expect(dir).toContain(commit);
    await expectSame(dir, { ...files, [WEIGHTS]: other });
    expect(server.downloads(WEIGHTS).at(-1)!.range).toBeUndefined();
  });

  it.each([
    ["zeros, as a power cut leaves them", async (path: string) => writeFile(path, new Uint8Array(250_000))],
    ["more bytes than the file has", async (path: string) => truncate(path, 10_000_000)],
  ])("begins again once when what an earlier run left is %s", async (_, damage) => {
    const files = await golden();
    const server = await HubServer.serve(files);
    const settings = await settingsFor(server.endpoint);
    await abortedAt(250_000, server, settings);
    await damage(partialOf(settings, WEIGHTS, files[WEIGHTS]!));
    const dir = await download(settings);
    await expectSame(dir, files);
    expect(server.downloads(WEIGHTS).at(-1)!.range).toBeUndefined();
  });

  it("resumes from a server that knows no ranges", async () => {
    const files = await golden();
    const server = await HubServer.serve(files);
    const settings = await settingsFor(server.endpoint);
    await abortedAt(250_000, server, settings);
    server.fault = () => ({ wholeFile: true });
    server.received.length = 0;
    const dir = await download(settings);
    expect(server.downloads(WEIGHTS)).toMatchObject([{ range: "bytes=250000-", sent: files[WEIGHTS]!.length }]);
    await expectSame(dir, files);
  });

  it("may be two at once", async () => {
    const files = await golden();
    const server = await HubServer.serve(files);
    const settings = await settingsFor(server.endpoint);
    await abortedAt(250_000, server, settings);
    const dirs = await Promise.all([download(settings), download(settings), download(settings)]);
    expect(new Set(dirs).size).toBe(1);
    await expectSame(dirs[0]!, files);
    expect(await readdir(join(dirs[0]!, "..", "..", "blobs"))).toHaveLength(Object.keys(files).length);
  });
});

describe("a file that is not what the hub promised", () => {
  it("is refused and removed", async () => {
    const files = await golden();
    const server = await HubServer.serve(files);
    const settings = await settingsFor(server.endpoint);
    for (const name of [WEIGHTS, "config.json"]) {
      server.fault = ({ path }) => (path.includes(`/${name}?bytes`) ? { flip: 9 } : null);
      await expect(download(settings)).rejects.toMatchObject({
        code: "E_BLOB_CORRUPT",
        message: expect.stringMatching(new RegExp(`^${name} .*${hashOf(name, files[name]!)}`)),
      });
      expect(await wholeFiles(settings)).not.toContain(name);
      await expect(stat(partialOf(settings, name, files[name]!))).rejects.toThrow("ENOENT");
      await rm(settings.cacheDir, { recursive: true });
    }
  });

  it("is not taken from the cache in another size", async () => {
    const files = await golden();
    const server = await HubServer.serve(files);
    const settings = await settingsFor(server.endpoint);
    const dir = await download(settings);
    await truncate(join(dir, WEIGHTS), 1000);
    expect(await download(settings)).toBe(dir);
    await expectSame(dir, files);
  });

  it.each(["../../evil.safetensors", "..", "other.safetensors"])("cannot be %s of an index", async (part) => {
    const index = Buffer.from(JSON.stringify({ weight_map: { "shared.weight": part } }));
    const { "config.json": config } = await golden();
    const server = await HubServer.serve({ "config.json": config!, "model.safetensors.index.json": index });
    const code = part.startsWith(".") ? "E_SAFETENSORS" : "E_CHECKPOINT_NOT_FOUND";
    await expect(download(await settingsFor(server.endpoint))).rejects.toMatchObject({
      code,
      message: expect.stringContaining(part),
    });
  });
});

describe("a server in trouble", () => {
  it("is asked again, a few times", async () => {
    const server = await HubServer.serve(await golden());
    const seen = new Set<string>();
    // Every address fails once.
    server.fault = ({ path }) => {
      if (seen.has(path)) return null;
      seen.add(path);
      return [{ status: 503 }, { status: 429 }, { reset: true } as const][seen.size % 3];
    };
    await download(await settingsFor(server.endpoint));
    expect(seen.size).toBeGreaterThan(6);
  });

  it("is given up at last, with the way to go on", async () => {
    const server = await HubServer.serve(await golden());
    const settings = await settingsFor(server.endpoint);
    server.fault = ({ path }) => (path.includes(`/${WEIGHTS}?bytes`) ? { status: 502 } : null);
    await expect(download(settings)).rejects.toMatchObject({
      code: "E_IO",
      message: expect.stringMatching(
        /^http:\/\/127\.0\.0\.1:\d+ answered 502\. Run the command again: the download goes on/,
      ),
    });
    expect(server.downloads(WEIGHTS)).toHaveLength(1 + settings.retryDelays.length);
  });

  it("is left alone once the command was stopped", async () => {
    const server = await HubServer.serve(await golden());
    const abort = new AbortController();
    server.fault = () => {
      abort.abort(new Error("stopped by the test"));
      return { status: 503 };
    };
    const settings = { ...(await settingsFor(server.endpoint)), retryDelays: [3_600_000] };
    await expect(download(settings, { signal: abort.signal })).rejects.toThrow("stopped by the test");
    expect(server.received).toHaveLength(1);
  });

  it("that does not speak the hub's language is named", async () => {
    const server = await HubServer.serve(await golden());
    server.fault = () => ({ status: 200, body: "<html>Log in to the network</html>" });
    await expect(download(await settingsFor(server.endpoint))).rejects.toMatchObject({
      code: "E_IO",
      message: expect.stringContaining(`${server.endpoint} does not answer as the hub does`),
    });
  });
});

describe("the token", () => {
  it("goes to the hub and to no other host", async () => {
    const server = await HubServer.serve(await golden());
    const token = "a token of any form";
    await download({ ...(await settingsFor(server.endpoint)), token: token.replaceAll(" ", "-") });
    const sent = (host: string) =>
      new Set(server.received.filter((request) => request.host === host).map(({ authorization }) => authorization));
    expect(sent("hub")).toEqual(new Set(["Bearer a-token-of-any-form"]));
    expect(sent("storage")).toEqual(new Set([undefined]));
  });

  it("does not go where a listing leads to", async () => {
    const server = await HubServer.serve(await golden());
    const link = `<${server.storage}/next>; rel="next"`;
    server.fault = ({ path }) => {
      if (path.includes("/tree/")) return { status: 200, headers: { link }, body: "[]" };
      return path === "/next" ? { status: 200, body: "[]" } : null;
    };
    const settings = { ...(await settingsFor(server.endpoint)), token: "hf_secret" };
    await expect(download(settings)).rejects.toThrow("has no config.json");
    expect(server.received.at(-1)).toMatchObject({ path: "/next", authorization: undefined });
  });

  it.each([401, 403])("is asked for, with the terms, when the answer is %i", async (status) => {
    const server = await HubServer.serve(await golden());
    server.fault = () => ({ status, headers: { "x-error-code": "GatedRepo" } });
    const settings = await settingsFor(server.endpoint);
    const without = await download(settings).catch((error: unknown) => error);
    expect(without).toMatchObject({
      code: "E_CHECKPOINT_ACCESS",
      message: expect.stringMatching(
        /does not give out acme\/tiny-t5 .*Accept its terms at http.*\/acme\/tiny-t5,.*set HF_TOKEN/,
      ),
    });
    const refused = (await download({ ...settings, token: "hf_secret" }).catch((error: unknown) => error)) as Error;
    expect(refused.message).toContain("The token that was sent may not read it");
    expect(JSON.stringify([refused.message, refused.stack, refused.cause])).not.toContain("hf_secret");
  });
});

describe("what cannot be had", () => {
  it("is named with its revision", async () => {
    const server = await HubServer.serve(await golden());
    const settings = await settingsFor(server.endpoint);
    await expect(download(settings, {}, "acme/other@v2")).rejects.toMatchObject({
      code: "E_CHECKPOINT_NOT_FOUND",
      message: expect.stringMatching(/no repository acme\/other with the revision v2, and there is no such directory/),
    });
    await expect(download(settings, {}, `${REPOSITORY}@v3`)).rejects.toMatchObject({
      code: "E_CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("revision v3"),
    });
  });

  it("without safetensors is told with the way to convert it, before anything is downloaded", async () => {
    const { [WEIGHTS]: _, ...rest } = await golden();
    const server = await HubServer.serve({ ...rest, "pytorch_model.bin": new Uint8Array(10) });
    await expect(download(await settingsFor(server.endpoint))).rejects.toMatchObject({
      code: "E_CHECKPOINT_NOT_FOUND",
      message: expect.stringMatching(/only as pytorch_model\.bin.*save_pretrained\('tiny-t5'\).*split \.\/tiny-t5/),
    });
    expect(server.downloaded()).toEqual([]);
  });

  it.each([
    ["config.json", WEIGHTS],
    [WEIGHTS, "config.json"],
  ])("without %s is told", async (missing, kept) => {
    const files = await golden();
    const server = await HubServer.serve({ [kept]: files[kept]! });
    await expect(download(await settingsFor(server.endpoint))).rejects.toMatchObject({
      code: "E_CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining(`has no ${missing}`),
    });
  });

  it("without a connection says what was not reached, and what to do", async () => {
    const endpoint = await closedEndpoint();
    const settings = await settingsFor(endpoint);
    const messageWith = async (proxy: string) => {
      vi.stubEnv("HTTPS_PROXY", proxy);
      vi.stubEnv("https_proxy", "");
      vi.stubEnv("NODE_USE_ENV_PROXY", undefined);
      const error = await download(settings).catch((error: unknown) => error);
      expect(error).toMatchObject({ code: "E_IO" });
      return (error as Error).message;
    };
    const direct = await messageWith("");
    expect(direct).toContain(`${endpoint} could not be reached (ECONNREFUSED). Check the network and HF_ENDPOINT, or`);
    expect(direct).toMatch(/or give a local directory.*Run the command again: the download goes on/);
    expect(await messageWith("http://proxy.test:3128")).toContain("NODE_USE_ENV_PROXY=1");
  });
});

describe("HF_HUB_OFFLINE", () => {
  it("takes what the cache has, and asks nobody", async () => {
    const server = await HubServer.serve({ ...(await golden()), ...TOKENIZER });
    const settings = await settingsFor(server.endpoint);
    const dir = await download(settings);
    server.received.length = 0;
    expect(await download({ ...settings, offline: true })).toBe(dir);
    expect(server.received).toEqual([]);
  });

  it("names what the cache lacks", async () => {
    const server = await HubServer.serve(await golden());
    const settings = { ...(await settingsFor(server.endpoint)), offline: true };
    await expect(download(settings)).rejects.toMatchObject({
      code: "E_CHECKPOINT_NOT_FOUND",
      message: expect.stringMatching(/^acme\/tiny-t5 at main is not in the cache .*Unset HF_HUB_OFFLINE/),
    });
  });

  it("does not take a download that is not whole", async () => {
    const files = await golden();
    const server = await HubServer.serve(files);
    const settings = await settingsFor(server.endpoint);
    const commit = server.commit(files, "next");
    await abortedAt(250_000, server, settings);
    const offline = { ...settings, offline: true };
    await expect(download(offline)).rejects.toThrow("acme/tiny-t5 at main is not in the cache");
    await download(settings, {}, `${REPOSITORY}@${commit}`);
    for (const name of [WEIGHTS, "config.json"]) {
      const dir = await download(settings, {}, `${REPOSITORY}@${commit}`);
      await rm(join(dir, name));
      await expect(download(offline, {}, `${REPOSITORY}@${commit}`)).rejects.toThrow(`${name} of acme/tiny-t5`);
    }
  });

  it("does not take weights that another tool left without their tokenizer", async () => {
    const server = await HubServer.serve({ ...(await golden()), ...TOKENIZER });
    const settings = await settingsFor(server.endpoint);
    const dir = await download(settings);
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) await rm(join(dir, name));
    await expect(download({ ...settings, offline: true })).rejects.toThrow("tokenizer.json of acme/tiny-t5");
  });
});
