/** A mixed load as tenants make it, over HTTP: what is sent, in what order, and what came back. */

import type { Store } from "../store/store.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../t5/adapter.ts";
import { readManifest } from "../t5/manifest.ts";

export interface Visitor {
  tenant: string;
  key: string;
  /** Has a task of this name, with an adapter. */
  styledTask: string | null;
}

export type Outcome = "answered" | "cut_off" | "refused" | "rejected" | "failed";

export interface Visit {
  /** From 0. */
  day: number;
  tenant: string;
  outcome: Outcome;
  status: number;
  /** The ledger's id of it, and the tokens that the answer told, where its shape tells them. */
  id: string | null;
  tokens: { input: number; output: number } | null;
  ms: number;
}

/** Requests of a day, Monday first, as an office's load goes. */
const WEEK = [1, 1.1, 1.15, 1.1, 0.95, 0.45, 0.4];

/** How many of `requests` come on each day; they sum to `requests`. */
export function daysOf(requests: number, days: number): number[] {
  const weights = Array.from({ length: days }, (_, i) => WEEK[i % WEEK.length] ?? 1);
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  let given = 0;
  let passed = 0;
  return weights.map((weight) => {
    passed += weight;
    const until = Math.round((requests * passed) / whole);
    const count = until - given;
    given = until;
    return count;
  });
}

const SENTENCES = [
  ...["The house is old.", "I am hungry.", "Where is my book?", "The train is late.", "She loves her children."],
  ...["It is raining.", "We are going home.", "He reads a book every day.", "Tom speaks French.", "The water is cold."],
];
const PACKAGES = [
  ...["A chess game for two players.", "Python3 bindings to the udev library.", "A library of fonts for Thai."],
  "This package provides a command line tool to convert images between formats. It supports PNG, JPEG and TIFF.",
];

interface Call {
  path: string;
  body: object;
  /** Leave after the first piece of the stream. */
  leaves?: boolean;
}

type Draw = <T>(items: readonly T[]) => T;

type Kind = [weight: number, make: (draw: Draw) => Call];

/** What is asked for, by how often of a hundred. */
function kindsOf(model: string, styledTask: string | null): Kind[] {
  const task = (name: string) => `/v1/tasks/${name}`;
  const prompt = (draw: Draw) => `translate English to German: ${draw(SENTENCES)}`;
  const kinds: Kind[] = [
    [22, (draw) => ({ path: task("translate-de"), body: { input: draw(SENTENCES) } })],
    [14, (draw) => ({ path: task("translate-fr"), body: { input: draw(SENTENCES) } })],
    [12, (draw) => ({ path: task("summarize"), body: { input: draw(PACKAGES) } })],
    [14, (draw) => ({ path: task("classify-package"), body: { input: draw(PACKAGES) } })],
    [
      6,
      (draw) => ({ path: task("translate-de"), body: { input: [draw(SENTENCES), draw(SENTENCES), draw(SENTENCES)] } }),
    ],
    [8, (draw) => ({ path: "/v1/completions", body: { model, prompt: prompt(draw) } })],
    [8, (draw) => ({ path: "/models/translate-fr", body: { inputs: draw(SENTENCES) } })],
    [8, (draw) => ({ path: task("translate-de"), body: { input: draw(SENTENCES), stream: true } })],
    [5, (draw) => ({ path: "/v1/completions", body: { model, prompt: prompt(draw), stream: true }, leaves: true })],
    [3, () => ({ path: task("summarize"), body: { input: " " } })],
  ];
  if (styledTask) kinds.push([40, (draw) => ({ path: task(styledTask), body: { input: draw(SENTENCES) } })]);
  return kinds;
}

export interface TrafficOptions {
  url: string;
  model: string;
  /** Each gets its share of a day. */
  visitors: readonly { visitor: Visitor; share: number }[];
  requests: number;
  days: number;
  /** The same seed asks the same, in the same order. */
  seed: number;
  signal: AbortSignal;
  onVisit(done: number, day: number): void;
}

/** Most requests at once, on the busiest day. */
const MOST_AT_ONCE = 8;

/** Sends the load, day by day, without the nights between them. */
export async function sendTraffic(options: TrafficOptions): Promise<Visit[]> {
  const { url, model, visitors, requests, days, signal, onVisit } = options;
  const random = mulberry32(options.seed);
  const draw: Draw = (items) => items[Math.floor(random() * items.length)] as (typeof items)[number];
  const visits: Visit[] = [];
  for (const [day, count] of daysOf(requests, days).entries()) {
    const plan = Array.from({ length: count }, () => {
      const { visitor } = weighted(
        visitors.map((each) => [each.share, each] as const),
        random(),
      );
      const make = weighted(kindsOf(model, visitor.styledTask), random());
      return { visitor, call: make(draw) };
    });
    const atOnce = Math.max(1, Math.round(MOST_AT_ONCE * ((WEEK[day % WEEK.length] ?? 1) / Math.max(...WEEK))));
    const next = plan.values();
    const worker = async () => {
      for (const { visitor, call } of next) {
        signal.throwIfAborted();
        visits.push({ day, tenant: visitor.tenant, ...(await visit(url, visitor.key, call)) });
        onVisit(visits.length, day);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  }
  return visits;
}

interface AnswerJson {
  id?: string;
  usage?: { input_tokens?: number; output_tokens?: number; prompt_tokens?: number; completion_tokens?: number };
}

async function visit(url: string, key: string, { path, body, leaves }: Call): Promise<Omit<Visit, "day" | "tenant">> {
  const began = performance.now();
  const leaving = new AbortController();
  const response = await fetch(url + path, {
    method: "POST",
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
    signal: leaving.signal,
  });
  const { status } = response;
  const told = (outcome: Outcome, json: AnswerJson = {}) => ({
    outcome,
    status,
    id: json.id?.replace(/^(run|cmpl)-/, "") ?? null,
    tokens: tokensOf(json),
    ms: performance.now() - began,
  });
  if (!response.ok) {
    await response.body?.cancel();
    return told(status === 429 || status === 402 ? "refused" : status < 500 ? "rejected" : "failed");
  }
  if (leaves) {
    const first = await response.body?.getReader().read();
    leaving.abort();
    const [event = ""] = new TextDecoder().decode(first?.value).split("\n\n");
    const { id } = JSON.parse(event.replace(/^data: /, "")) as AnswerJson;
    return told("cut_off", id === undefined ? {} : { id });
  }
  const text = await response.text();
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    return told("answered", JSON.parse(text) as AnswerJson);
  }
  const events = text
    .trim()
    .split("\n\n")
    .map((event) => event.replace(/^data: /, ""));
  const isWhole = events.at(-1) === "[DONE]";
  return told(isWhole ? "answered" : "failed", isWhole ? (JSON.parse(events.at(-2) ?? "{}") as AnswerJson) : {});
}

function tokensOf({ usage }: AnswerJson): Visit["tokens"] {
  const input = usage?.input_tokens ?? usage?.prompt_tokens;
  const output = usage?.output_tokens ?? usage?.completion_tokens;
  return input === undefined || output === undefined ? null : { input, output };
}

function weighted<T>(items: readonly (readonly [weight: number, item: T])[], at: number): T {
  let left = at * items.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, item] of items) {
    left -= weight;
    if (left < 0) return item;
  }
  throw new Error("There is nothing to choose from.");
}

/** Of a seed, numbers from 0 up to 1 (Tommy Ettinger's mulberry32). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const RANK = 4;

/** PEFT's two files of an adapter that changes a model's encoder a little, at random; the same each time. */
export async function randomAdapter(store: Store): Promise<Record<string, string | Uint8Array<ArrayBuffer>>> {
  const { dModel, dKv, numHeads, numLayers } = (await readManifest(store)).model;
  const random = mulberry32(7);
  const header: Record<string, { dtype: "F32"; shape: number[]; data_offsets: [number, number] }> = {};
  const values: number[] = [];
  for (let layer = 0; layer < numLayers; layer++) {
    const module = `base_model.model.encoder.block.${layer}.layer.0.SelfAttention.q`;
    for (const [half, shape] of [["A", [RANK, dModel]] as const, ["B", [numHeads * dKv, RANK]] as const]) {
      const from = values.length * 4;
      for (let i = 0; i < shape[0] * shape[1]; i++) values.push((random() - 0.5) / 10);
      header[`${module}.lora_${half}.weight`] = {
        dtype: "F32",
        shape: [...shape],
        data_offsets: [from, values.length * 4],
      };
    }
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + values.length * 4);
  const view = new DataView(file.buffer);
  view.setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  for (const [i, value] of values.entries()) view.setFloat32(8 + json.length + i * 4, value, true);
  const config = { peft_type: "LORA", r: RANK, lora_alpha: RANK, target_modules: ["q"], bias: "none" };
  return { [ADAPTER_CONFIG]: JSON.stringify(config), [ADAPTER_TENSORS]: file };
}
