/** Origins in processes of their own, to be killed; and batches to have them do. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { DEMO_TASKS } from "../../src/local/demo.ts";
import { readLocalSecrets } from "../../src/local/secrets.ts";
import type { Kit } from "./kit.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export interface OriginEvent {
  event: string;
  job?: string;
  detail?: string;
  url?: string;
}

interface OriginArgs {
  port?: number;
  lease?: number;
  poll?: number;
  args?: readonly string[];
}

export class OriginProcess {
  readonly events: OriginEvent[] = [];
  readonly #child: ChildProcess;
  #waiting: (() => void)[] = [];

  /** @param port where the gateway tells of jobs; 0: it asks for them alone, every `poll` seconds */
  constructor(gateway: string, secret: string, { port = 0, lease = 2, poll = 1, args: more = [] }: OriginArgs = {}) {
    const args = [
      "origin",
      "--gateway",
      gateway,
      "--port",
      String(port),
      "--lease",
      String(lease),
      "--poll",
      String(poll),
      "--json",
      ...more,
    ];
    this.#child = spawn(process.execPath, [MAIN, ...args], {
      cwd: tmpdir(),
      env: { ...process.env, ORIGIN_SECRET: secret },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let rest = "";
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.events.push(JSON.parse(line) as OriginEvent);
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  /** Waits for the first event of a name, of a job. */
  async event(name: string, job?: string): Promise<OriginEvent> {
    for (;;) {
      const found = this.events.find((each) => each.event === name && (job === undefined || each.job === job));
      if (found) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** `kill -9` */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Ctrl-C. */
  async stop(): Promise<void> {
    await this.#end("SIGINT");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill(signal);
    await once(this.#child, "exit");
  }
}

export async function originSecret(state: string): Promise<string> {
  return (await readLocalSecrets(state))?.ORIGIN_SECRET ?? "";
}

/** Rows of many kinds: greedy and sampled, of different lengths, and each seventh too long for the model. */
export function batchRows(rows: number, model = "default"): string {
  const texts = DEMO_TASKS.filter(({ labels }) => !labels);
  const lines = Array.from({ length: rows }, (_, i) => {
    const { template, example } = texts[i % texts.length]!;
    const input = i % 7 === 6 ? "long ".repeat(2100) : `${example} ${"It is raining. ".repeat(i % 4)}`;
    const body = {
      model,
      prompt: template.replace("{input}", input),
      max_tokens: 24,
      // With a seed, so that another batch of the same rows draws the same.
      ...(i % 5 === 1 && { temperature: 0.8, seed: i }),
      ...(i % 5 === 2 && { num_beams: 2 }),
    };
    return JSON.stringify({ custom_id: `row-${i}`, method: "POST", url: "/v1/completions", body });
  });
  return `${lines.join("\n")}\n`;
}

export function openAi(url: string, apiKey: string): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
}

export async function uploadBatch(openai: OpenAI, rows: string): Promise<OpenAI.FileObject> {
  return openai.files.create({ file: new File([rows], "rows.jsonl"), purpose: "batch" });
}

export async function startBatch(openai: OpenAI, file: string): Promise<OpenAI.Batch> {
  return openai.batches.create({ input_file_id: file, endpoint: "/v1/completions", completion_window: "24h" });
}

const OVER = ["completed", "failed", "cancelled", "expired"];

/** Looks until a batch is as wanted; default: over. */
export async function batchWhen(
  openai: OpenAI,
  id: string,
  isIt: (batch: OpenAI.Batch) => boolean = ({ status }) => OVER.includes(status),
): Promise<OpenAI.Batch> {
  for (;;) {
    const batch = await openai.batches.retrieve(id);
    if (isIt(batch)) return batch;
    await delay(50);
  }
}

/** A file's text, without what tells one batch from another. */
export async function outputOf(openai: OpenAI, batch: OpenAI.Batch, which: "output" | "error"): Promise<string> {
  const id = which === "output" ? batch.output_file_id : batch.error_file_id;
  if (!id) return "";
  const text = await (await openai.files.content(id)).text();
  return text
    .replaceAll(batch.id.replace(/^batch_/, ""), "ID")
    .replaceAll(`"created":${batch.created_at}`, '"created":0');
}

export interface LedgerEvent {
  id: string;
  model: string;
  input_tokens: number;
  output_tokens: number;
  training_tokens: number;
  work_units: number;
  served_by: string;
}

/** What a tenant's ledger has, whoever served it. */
export async function ledgerOf(kit: Kit, tenant: string): Promise<LedgerEvent[]> {
  const events: LedgerEvent[] = [];
  for (let from = ""; ; ) {
    const { json } = await kit.admin<{ data: LedgerEvent[]; next_cursor: string | null }>(
      "GET",
      `/admin/tenants/${tenant}/usage/events?limit=1000${from}`,
    );
    events.push(...json.data);
    if (json.next_cursor === null) return events;
    from = `&cursor=${encodeURIComponent(json.next_cursor)}`;
  }
}

/** What came of a batch, as far as it is the same for another of the same rows. */
export interface Outcome {
  batch: OpenAI.Batch;
  output: string;
  error: string;
  /** Row by row, what was billed. */
  ledger: object[];
}

async function outcomeOf(kit: Kit, openai: OpenAI, batch: OpenAI.Batch): Promise<Outcome> {
  const prefix = `${batch.id}-`;
  const events = (await ledgerOf(kit, "tests")).filter(({ id }) => id.startsWith(prefix));
  const ledger = events.map(({ id, model, input_tokens, output_tokens, work_units }) => ({
    row: Number(id.slice(prefix.length)),
    ...{ model, input_tokens, output_tokens, work_units },
  }));
  return {
    batch,
    output: await outputOf(openai, batch, "output"),
    error: await outputOf(openai, batch, "error"),
    ledger: ledger.sort((a, b) => a.row - b.row),
  };
}

export interface Kill9 {
  kit: Kit;
  secret: string;
  rows: string;
  rounds: number;
  random: () => number;
  /** Told of each kill. */
  onKill?: (kill: number, done: number, total: number) => void;
}

const LOAD_MS = 800;

/**
 * Runs the same rows twice: undisturbed, and by an origin that is killed at random moments and started again each time.
 * The moments are drawn over the time that the undisturbed run took, beginning with the start of the process.
 */
export async function kill9Rounds({ kit, secret, rows, rounds, random, onKill }: Kill9) {
  const openai = openAi(kit.url, kit.key);
  const file = await uploadBatch(openai, rows);
  const first = new OriginProcess(kit.url, secret, { lease: 1 });
  const began = performance.now();
  const undisturbed = await startBatch(openai, file.id);
  const calm = await outcomeOf(kit, openai, await batchWhen(openai, undisturbed.id));
  const took = performance.now() - began;
  await first.kill();

  const { id } = await startBatch(openai, file.id);
  let kills = 0;
  for (; kills < rounds; kills++) {
    const origin = new OriginProcess(kit.url, secret, { lease: 1 });
    // Most lives end in the middle of the work; some before it begins.
    if (random() < 0.8) await Promise.race([origin.event("claimed", id), delay(3_000)]);
    // Loading the model takes a part of a second; a few lives together do as much as the undisturbed one.
    await delay(random() * (LOAD_MS + (1.5 * took) / (rounds + 1)));
    await origin.kill();
    const { status, request_counts } = await openai.batches.retrieve(id);
    const { completed = 0, failed = 0, total = 0 } = request_counts ?? {};
    onKill?.(kills + 1, completed + failed, total);
    if (status === "completed") break;
  }
  const last = new OriginProcess(kit.url, secret, { lease: 1 });
  const disturbed = await outcomeOf(kit, openai, await batchWhen(openai, id));
  await last.kill();
  return { calm, disturbed, kills };
}

/** Numbers from 0 up to 1, the same for the same seed (Tommy Ettinger's mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
