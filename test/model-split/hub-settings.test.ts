import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type HubSettings, parseHubRepository, readHubSettings } from "../../model-split/hub/index.ts";
import { temporaryFolder } from "./checkpoints.ts";

afterEach(() => vi.unstubAllEnvs());

describe("settings", () => {
  const NONE = { HF_TOKEN: "", HF_TOKEN_PATH: "", HF_ENDPOINT: "", HF_HUB_OFFLINE: "" };

  async function readWith(env: Record<string, string | undefined>): Promise<HubSettings> {
    const home = await temporaryFolder();
    const all = { ...NONE, HF_HOME: home, HF_HUB_CACHE: undefined, HUGGINGFACE_HUB_CACHE: undefined, ...env };
    for (const [name, value] of Object.entries(all)) vi.stubEnv(name, value);
    return readHubSettings();
  }

  it("are the defaults of every Hugging Face tool", async () => {
    const home = await temporaryFolder();
    expect(await readWith({ HF_HOME: home })).toMatchObject({
      endpoint: "https://huggingface.co",
      token: null,
      cacheDir: join(home, "hub"),
      offline: false,
    });
    expect((await readWith({ HF_HUB_CACHE: "/elsewhere" })).cacheDir).toBe("/elsewhere");
    const { cacheDir } = await readWith({ HF_HOME: undefined, XDG_CACHE_HOME: home });
    expect(cacheDir).toBe(join(home, "huggingface", "hub"));
  });

  it("take the token from HF_TOKEN, then HF_TOKEN_PATH, then the file of hf auth login", async () => {
    const home = await temporaryFolder();
    await writeFile(join(home, "token"), "hf_login\n");
    await writeFile(join(home, "other"), "hf_file\n");
    const HF_TOKEN_PATH = join(home, "other");
    expect((await readWith({ HF_HOME: home })).token).toBe("hf_login");
    expect((await readWith({ HF_HOME: home, HF_TOKEN_PATH })).token).toBe("hf_file");
    expect((await readWith({ HF_HOME: home, HF_TOKEN_PATH, HF_TOKEN: " hf_env " })).token).toBe("hf_env");
  });

  it("refuse a token that no header can carry, without showing it", async () => {
    const error = await readWith({ HF_TOKEN: "hf_secret\nline" }).catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "E_USAGE", message: expect.not.stringContaining("hf_secret") });
  });

  it("refuse an endpoint that is no URL, and take one with a path", async () => {
    await expect(readWith({ HF_ENDPOINT: "huggingface.co" })).rejects.toMatchObject({ code: "E_USAGE" });
    expect((await readWith({ HF_ENDPOINT: "http://mirror.test/hf/" })).endpoint).toBe("http://mirror.test/hf");
  });

  it.each([
    ["1", true],
    ["true", true],
    ["0", false],
    ["", false],
  ])("HF_HUB_OFFLINE=%j is %s", async (value, offline) => {
    expect((await readWith({ HF_HUB_OFFLINE: value })).offline).toBe(offline);
  });
});

describe("a repository", () => {
  it.each([
    ["google/flan-t5-small", { id: "google/flan-t5-small", name: "flan-t5-small", revision: "main" }],
    ["google/flan-t5-small@v1.0", { id: "google/flan-t5-small", name: "flan-t5-small", revision: "v1.0" }],
    ["a_b/c.d@refs/pr/12", { id: "a_b/c.d", name: "c.d", revision: "refs/pr/12" }],
  ])("can be written %s", (text, repository) => {
    expect(parseHubRepository(text)).toEqual(repository);
  });

  it.each([
    "t5-small",
    "./a/b",
    "/a/b",
    "../b",
    "a/b/c",
    "a/",
    "/b",
    "a//b",
    "a\\b",
    ".a/b",
    "a/..",
    "a/b@",
    "a/b@../c",
    "a/b@/c",
    "a--b/c",
    "a b/c",
    "~/b",
    "",
  ])("is not %j", (text) => {
    expect(parseHubRepository(text)).toBeNull();
  });
});
