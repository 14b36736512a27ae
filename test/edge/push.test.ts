/** `edge-t5 push` and `rollback` against a running kit: traffic moves to another version and back, and no request fails. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, cp, mkdtemp, rm } from "node:fs/promises";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { readLocalSecrets } from "../../src/local/secrets.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { blobKey, readManifest } from "../../src/t5/manifest.ts";
import { T5_SMALL, writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { edgeT5 } from "../cli/process.ts";
import { Kit } from "./kit.ts";

const PROMPT = "translate English to German: The house is old.";
const OLD_ANSWER = "Das Haus ist alt.";
const MODEL = "default";
const NEW_TOKENS = 12;
const START_MS = 90_000;
const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

let dir: string;
let kit: Kit;
let env: Record<string, string>;
/** Packages of the model's next version, and of the one after that. */
let next: string;
let third: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-push-"));
  const state = join(dir, "state");
  kit = await Kit.start(state);
  const secrets = await readLocalSecrets(state);
  env = { EDGE_T5_URL: kit.url, EDGE_T5_ADMIN_TOKEN: secrets?.ADMIN_TOKEN ?? "" };
  next = await randomPackage("next", 1);
  third = await randomPackage("third", 2);
}, START_MS);

afterAll(async () => {
  await kit?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Nonsense in the packaged model's vocabulary. */
async function randomPackage(name: string, layers: number): Promise<string> {
  const { model, tokenizer } = await readManifest(new FolderStore(DEFAULT_PACKAGE));
  const checkpoint = join(dir, `${name}-checkpoint`);
  await writeRandomCheckpoint(checkpoint, { ...T5_SMALL, num_layers: layers, vocab_size: model.vocabSize });
  if (!tokenizer || !("json" in tokenizer)) throw new Error("The packaged model has no tokenizer.json.");
  await copyFile(join(DEFAULT_PACKAGE, blobKey(tokenizer.json)), join(checkpoint, "tokenizer.json"));
  const out = join(dir, name);
  await splitCheckpoint(checkpoint, out, { name: MODEL });
  return out;
}

interface Answer {
  status: number;
  version: string | null;
  text: string;
}

async function ask(stream: boolean): Promise<Answer> {
  const body = JSON.stringify({ model: MODEL, prompt: PROMPT, max_tokens: NEW_TOKENS, stream });
  const response = await kit.fetch("/v1/completions", { method: "POST", body });
  const received = await response.text();
  const parts = stream
    ? received
        .split("\n\n")
        .filter((line) => line.startsWith("data: {"))
        .map((line) => line.slice("data: ".length))
    : [received];
  const text = parts.map((part) => (JSON.parse(part) as { choices?: { text: string }[] }).choices?.[0]?.text ?? part);
  return { status: response.status, version: response.headers.get("x-model-version"), text: text.join("") };
}

/** Clients that ask one request after the other, all the time. */
class Traffic {
  readonly answers: Answer[] = [];
  #isOver = false;
  readonly #clients: Promise<void>[];

  constructor(clients: number) {
    this.#clients = Array.from({ length: clients }, async (_, i) => {
      while (!this.#isOver) this.answers.push(await ask(i % 2 === 1));
    });
  }

  /** Until the last so many answers are of one version. */
  async settledOn(version: string): Promise<void> {
    const isSettled = () => {
      const last = this.answers.slice(-24);
      return last.length === 24 && last.every((answer) => answer.version === version);
    };
    await expect.poll(isSettled, { timeout: 40_000, interval: 100 }).toBe(true);
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
  }
}

async function cli(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await edgeT5([...args, "--json"], { env });
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

test("traffic moves to a pushed version and back; of all requests none fails, each is answered by one version", {
  timeout: 180_000,
}, async () => {
  const old = (await ask(false)).version ?? "";
  expect(await ask(true)).toEqual({ status: 200, version: old, text: OLD_ANSWER });

  const traffic = new Traffic(6);
  const pushed = await cli("push", next);
  expect(pushed).toMatchObject({ name: MODEL, published: true, skipped: 1 });
  await traffic.settledOn(pushed.version as string);
  expect(await cli("rollback", MODEL)).toMatchObject({ version: old, previous: [] });
  await traffic.settledOn(old);
  await traffic.end();

  const texts = new Map<string | null, Set<string>>();
  for (const { version, text } of traffic.answers) texts.set(version, (texts.get(version) ?? new Set()).add(text));
  expect(traffic.answers.filter(({ status }) => status !== 200)).toEqual([]);
  expect([...texts.keys()].sort()).toEqual([old, pushed.version].sort());
  expect([...(texts.get(old) ?? [])]).toEqual([OLD_ANSWER]);
  // Tokens of one version decoded by another's tokenizer, or its hidden states, would be yet another text.
  expect(texts.get(pushed.version as string)?.size).toBe(1);
  console.log(`requests while versions moved: ${traffic.answers.length}, failed: 0`);
});

test("a push that is killed leaves the old version serving; pushed again, it goes on where it was", {
  timeout: 120_000,
}, async () => {
  const before = await ask(false);
  let child: ChildProcess | undefined;
  let uploads = 0;
  // The third upload never arrives: the pusher is killed in the middle of it.
  const proxy = await startProxy((method) => {
    if (method === "PUT" && ++uploads === 3) child?.kill("SIGKILL");
    return uploads >= 3 ? "hang" : "pass";
  });
  child = spawn(process.execPath, [MAIN, "push", third, "--parallel", "1", "--url", proxy.url], {
    env: { ...process.env, ...env },
    stdio: "ignore",
  });
  await once(child, "exit");
  expect(uploads).toBe(3);
  expect(await ask(false)).toEqual(before);
  const blobs = Object.keys((await readManifest(new FolderStore(third))).blobs).length;
  const resumed = await cli("push", third, "--no-publish");
  expect(resumed).toMatchObject({ published: false });
  // Two were sent before, and one that all packages share was there from the first.
  expect(resumed.skipped).toBeGreaterThanOrEqual(2);
  expect((resumed.skipped as number) + (resumed.uploaded as number)).toBe(blobs);
  expect(await ask(false)).toEqual(before);
  const again = await cli("push", third);
  expect(again).toMatchObject({ published: true, uploaded: 0, skipped: blobs, version: resumed.version });
  const after = await ask(false);
  expect(after.version).toBe(again.version);
  await cli("rollback", MODEL);

  const { data } = (await cli("models")) as { data: { name: string; version: string; versions: object[] }[] };
  expect(data.find(({ name }) => name === MODEL)).toMatchObject({ version: before.version });
});

test("uploads that fail for a moment are tried again; what stays refused is said in the gateway's words", {
  timeout: 60_000,
}, async () => {
  const copy = join(dir, "flaky");
  await cp(next, copy, { recursive: true });
  let failures = 0;
  const proxy = await startProxy((method, path) => {
    if (method === "PUT" && path.includes("/blobs/") && failures < 2) {
      failures++;
      return failures === 1 ? 503 : "reset";
    }
    return "pass";
  });
  const pushed = await cli("push", copy, "--name", "flaky", "--url", proxy.url);
  expect(failures).toBe(2);
  expect(pushed).toMatchObject({ name: "flaky", published: true, skipped: 0 });
  const wrong = await edgeT5(["push", copy, "--admin-token", "guess"], { env });
  expect(wrong).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^E_INPUT: The gateway answers 401.*admin token/),
  });
  const nowhere = await edgeT5(["rollback", MODEL, "--url", "http://127.0.0.1:9"], { env });
  expect(nowhere).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^E_IO: http:\/\/127.0.0.1:9 cannot be reached/),
  });
  const unknown = await edgeT5(["rollback", "nobody"], { env });
  expect(unknown.stderr).toMatch(/There is no model nobody/);
  expect(kit.output).not.toContain("ERROR");
});

/** Between a command and the kit: passes requests on, hangs, breaks off, or answers a status of its own. */
async function startProxy(
  rule: (method: string, path: string) => "pass" | "hang" | "reset" | number,
): Promise<{ url: string }> {
  const server: Server = createServer((from, to) => {
    const outcome = rule(from.method ?? "", from.url ?? "");
    if (outcome === "hang") return;
    if (outcome === "reset") return void from.socket.destroy();
    if (outcome !== "pass") return void to.writeHead(outcome).end();
    const { hostname, port } = new URL(kit.url);
    const onward = request({ hostname, port, method: from.method, path: from.url, headers: from.headers }, (answer) => {
      to.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(to);
    });
    onward.on("error", () => to.destroy());
    from.pipe(onward);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
