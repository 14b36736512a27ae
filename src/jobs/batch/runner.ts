/**
 * Runs a batch: some rows at a time, those of like length side by side, each answered as `/v1/completions` answers it,
 * texts of any length included. A checkpoint has whole rows, their lines and what they are billed; what was begun after it
 * is begun again, and comes out the same.
 */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { answer, type Classified, classify, collect } from "../../api/answers.ts";
import { type Completion, type CompletionChoice, usageOf } from "../../api/completions.ts";
import { ApiError, toApiError } from "../../api-error.ts";
import type { HeldAdapter } from "../../t5/engine.ts";
import { combined, type LongCounter, longModelOf } from "../../tenancy/long-texts.ts";
import { linesOf, parseRow } from "../jsonl.ts";
import { type Ending, JobCancelled, type JobContext, type Runner } from "../origin/runner.ts";
import type { Checkpoint, Used } from "../protocol.ts";
import { type BatchModels, holdAdapter, type LoadedModel, ROWS_TOGETHER } from "./models.ts";
import { SharedDecoding } from "./shared-decoding.ts";
import {
  type AskedRow,
  askRow,
  type BatchProgress,
  type BatchRow,
  type BatchSpec,
  type PlannedRow,
  parseBatchRow,
  planRow,
} from "./spec.ts";

/** Rows between two checkpoints: work that a lost origin loses; of a long batch more, so that checkpoints stay few. */
const LEAST_ROWS = 32;
const MOST_CHECKPOINTS = 500;
/** …and of long texts fewer: a file of a hundred megabytes has some hundred checkpoints by this. */
const MOST_CHARACTERS = 1 << 18;

interface State extends Record<string, unknown> {
  /** Rows that are done, from the file's beginning. */
  rows: number;
  completed: number;
  failed: number;
  inputTokens: number;
  outputTokens: number;
}

const NOTHING: State = { rows: 0, completed: 0, failed: 0, inputTokens: 0, outputTokens: 0 };

/** A row on its way. */
interface Work {
  /** From 0, in the file. */
  index: number;
  row: BatchRow;
  asked: AskedRow;
  plan: PlannedRow;
  model: LoadedModel;
}

interface Done {
  index: number;
  line: object;
  failed: boolean;
  used: Used | null;
}

export function batchRunner(models: BatchModels): Runner {
  return async (context) => {
    const { job, storage, signal } = context;
    const spec = job.spec as BatchSpec;
    const size = Math.max(LEAST_ROWS, Math.ceil(spec.rows / MOST_CHECKPOINTS));
    let state = (job.checkpoint?.state ?? NOTHING) as State;
    try {
      const input = await storage.input(`files/${spec.input.id}`);
      if (!input) throw new ApiError(404, "file_not_found", `The file ${spec.input.filename} is not there any more.`);
      let index = 0;
      let characters = 0;
      let rows: { index: number; json: unknown }[] = [];
      const next = async () => {
        if (rows.length === 0) return;
        state = await doRows(context, models, rows, state);
        rows = [];
        characters = 0;
      };
      for await (const { number, text } of linesOf(input)) {
        if (index >= state.rows) {
          rows.push({ index, json: parseRow(text, number) });
          characters += text.length;
        }
        index++;
        if (rows.length === size || characters >= MOST_CHARACTERS) await next();
      }
      await next();
    } catch (error) {
      if (!(signal.aborted && signal.reason instanceof JobCancelled)) throw error;
      // What was done until then is the tenant's.
      return ending(context, state, "cancelled");
    }
    context.report({ progress: { ...progressOf(state), finalizingAt: Date.now() } satisfies BatchProgress });
    return ending(context, state, "succeeded");
  };
}

function progressOf({ completed, failed, inputTokens, outputTokens }: State): BatchProgress {
  return { completed, failed, inputTokens, outputTokens, finalizingAt: null };
}

/** @returns the state after the rows, which is kept */
async function doRows(
  context: JobContext,
  models: BatchModels,
  rows: readonly { index: number; json: unknown }[],
  before: State,
): Promise<State> {
  const { job, storage, signal } = context;
  const { targets, lengths } = job.spec as BatchSpec;
  const done: Done[] = [];
  const works: Work[] = [];
  for (const { index, json } of rows) {
    // Planning a long text takes a while: heartbeats go on between them.
    await turn();
    signal.throwIfAborted();
    const row = parseBatchRow(json);
    const target = targets[row.request.model];
    if (!target) throw new Error(`Row ${index} of ${job.id} asks for what its spec has not.`);
    const model = await models.get(target.model, lengths.longest, storage);
    try {
      const asked = askRow(row, target.task, model.defaults, lengths);
      if (row.request.fields.seed == null) asked.generation.seed = seedOf(`${job.id} ${index}`);
      const plan = planRow(row, asked, { task: target.task, model, lengths });
      works.push({ index, row, asked, plan, model });
    } catch (error) {
      done.push(failure(job.id, index, row, error));
    }
  }
  works.sort((a, b) => a.plan.size.longest - b.plan.size.longest || a.index - b.index);
  for (const group of groupsOf(works)) done.push(...(await answerGroup(context, group)));
  signal.throwIfAborted();
  done.sort((a, b) => a.index - b.index);
  return keep(context, done, before, (rows.at(-1)?.index ?? 0) + 1);
}

/** Rows of one model, as many as decode side by side. */
function groupsOf(works: readonly Work[]): Work[][] {
  const groups: Work[][] = [];
  for (const model of new Set(works.map(({ model }) => model))) {
    let group: Work[] = [];
    let sequences = 0;
    for (const work of works) {
      if (work.model !== model) continue;
      const { generation } = work.asked;
      const own = work.plan.size.prompts * Math.max(generation.candidates, generation.params.num_beams);
      if (group.length > 0 && sequences + own > ROWS_TOGETHER) {
        groups.push(group);
        group = [];
        sequences = 0;
      }
      group.push(work);
      sequences += own;
    }
    if (group.length > 0) groups.push(group);
  }
  return groups;
}

async function answerGroup(context: JobContext, group: readonly Work[]): Promise<Done[]> {
  const { job, storage, signal } = context;
  const { targets } = job.spec as BatchSpec;
  const [first] = group;
  if (!first) return [];
  const decoding = new SharedDecoding(first.model.engine, group.length, signal);
  const settled = await Promise.allSettled(
    group.map(async (work) => {
      let adapter: HeldAdapter | undefined;
      try {
        adapter = await holdAdapter(work.model, targets[work.row.request.model]?.adapter ?? null, storage, signal);
        return await answerRow(context, work, decoding, adapter);
      } finally {
        decoding.leave();
        adapter?.release();
      }
    }),
  );
  signal.throwIfAborted();
  return settled.map((outcome, i) => {
    if (outcome.status === "fulfilled") return outcome.value;
    const { index, row } = group[i] as Work;
    return failure(job.id, index, row, outcome.reason);
  });
}

async function answerRow(
  { job, signal }: JobContext,
  { index, row, asked, plan, model }: Work,
  decoding: SharedDecoding,
  adapter: HeldAdapter | undefined,
): Promise<Done> {
  const { targets, lengths } = job.spec as BatchSpec;
  const target = targets[row.request.model];
  const labels = target?.task?.definition.labels;
  const halves = decoding.halves(adapter);
  const { tokenizer } = model;
  const placement = lengths.longest;
  const { inputs, generation, maxNewTokens } = asked;
  const { size, prompts, pieces, windows } = plan;
  // Of pieces, those that really go through the model.
  const counter: LongCounter = { inputTokens: pieces ? 0 : size.promptTokens, outputTokens: 0, workUnits: 0 };
  const began = Date.now();
  let choices: CompletionChoice[];
  if (labels && windows) {
    const scored = await classify(halves, placement, { tokenizer, prompts }, labels, signal, counter);
    choices = choicesOf(combined(labels, windows, scored));
  } else if (pieces) {
    const wide = { ...placement, MAX_SEQUENCES: ROWS_TOGETHER };
    const parts = pieces.parts(longModelOf(halves, wide, pieces, tokenizer, counter), signal);
    choices = await collect(parts, inputs.length, generation);
  } else {
    const work = { tokenizer, prompts, generation, maxNewTokens, stream: false };
    choices = await collect(answer(halves, placement, work, signal, counter), prompts.length, generation);
  }
  const id = `${job.id}-${index}`;
  const body: Completion = {
    id: `cmpl-${id}`,
    object: "text_completion",
    created: Math.floor(job.created_at / 1000),
    model: row.request.model,
    choices,
    usage: usageOf(counter.inputTokens, counter.outputTokens),
  };
  const now = Date.now();
  const used: Used = {
    id,
    task: target?.task?.name ?? null,
    taskVersion: target?.task?.version ?? null,
    model: target?.modelName ?? "",
    adapter: target?.adapter?.name ?? null,
    inputTokens: counter.inputTokens,
    outputTokens: counter.outputTokens,
    trainingTokens: 0,
    workUnits: counter.workUnits,
    servedBy: "origin",
    outcome: "ok",
    at: now,
    durationMs: now - began,
  };
  return { index, line: lineOf(job.id, index, row, 200, body), failed: false, used };
}

function choicesOf(classified: readonly Classified[]): CompletionChoice[] {
  return classified.map(({ scores }, index) => ({
    ...{ text: scores[0]?.label ?? "", index, logprobs: null },
    finish_reason: "stop",
  }));
}

/** What is wrong with a row is in the error file; what is wrong with us stops the job. */
function failure(job: string, index: number, row: BatchRow, error: unknown): Done {
  const known = toApiError(error);
  if (known.status >= 500) throw error;
  return { index, line: lineOf(job, index, row, known.status, known.body()), failed: true, used: null };
}

/** As OpenAI writes it. */
function lineOf(job: string, index: number, { customId }: BatchRow, status: number, body: object): object {
  const id = `${job}-${index}`;
  return {
    id: `batch_req_${id.replace(/^batch_/, "")}`,
    custom_id: customId,
    response: { status_code: status, request_id: id, body },
    error: null,
  };
}

async function keep(context: JobContext, done: readonly Done[], before: State, rows: number): Promise<State> {
  const usage = done.flatMap(({ used }) => used ?? []);
  const state: State = {
    rows,
    completed: before.completed + usage.length,
    failed: before.failed + done.length - usage.length,
    inputTokens: before.inputTokens + usage.reduce((sum, { inputTokens }) => sum + inputTokens, 0),
    outputTokens: before.outputTokens + usage.reduce((sum, { outputTokens }) => sum + outputTokens, 0),
  };
  const files: Record<string, string> = {};
  for (const part of PARTS) {
    const lines = done.filter(({ failed }) => failed === part.failed).map(({ line }) => `${JSON.stringify(line)}\n`);
    if (lines.length === 0) continue;
    const bytes = new TextEncoder().encode(lines.join(""));
    files[part.name] = await context.storage.put(`${part.name}-${rows}.jsonl`, bytes);
  }
  await context.commit({ checkpoint: { step: rows, state, files }, usage, progress: progressOf(state) });
  return state;
}

const PARTS = [
  { name: "output", as: "output_file_id", failed: false },
  { name: "error", as: "error_file_id", failed: true },
] as const;

/** Puts the checkpoints' parts together. */
async function ending(context: JobContext, state: State, status: "succeeded" | "cancelled"): Promise<Ending> {
  const { job } = context;
  const outputs: NonNullable<Ending["outputs"]> = [];
  const checkpoints = await context.checkpoints();
  for (const { name, as } of PARTS) {
    const parts = checkpoints.flatMap(({ files = {} }: Checkpoint) => files[name] ?? []);
    if (parts.length === 0) continue;
    const file = join(context.scratch, `${name}.jsonl`);
    const handle = await open(file, "w");
    try {
      for (const part of parts)
        for await (const chunk of await context.storage.artifact(part)) await handle.write(chunk);
    } finally {
      await handle.close();
    }
    const artifact = await context.storage.put(`${name}.jsonl`, { file });
    outputs.push({ as, artifact, filename: `${job.id}_${name}.jsonl`, purpose: "batch_output" });
  }
  const progress = { ...progressOf(state), finalizingAt: Date.now() };
  return { status, outputs, progress };
}

/** A number of a text, the same each time (FNV-1a). */
function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash | 0;
}
