/** `/v1/batches`: many completions at once, by an origin. */
import { type Context, Hono } from "hono";
import { mostLabelTokens } from "../../src/api/answers.ts";
import { batchJson, newBatchSchema } from "../../src/api/batches.ts";
import { listJson } from "../../src/api/control-plane.ts";
import { jobsQuerySchema, PRIORITIES } from "../../src/api/jobs.ts";
import { parseWith } from "../../src/api/parse.ts";
import { ApiError, toApiError } from "../../src/api-error.ts";
import {
  type AskedRow,
  askRow,
  type BatchRow,
  type BatchSpec,
  type BatchTarget,
  MOST_ROWS,
  MOST_TARGETS,
  parseBatchRow,
  planRow,
} from "../../src/jobs/batch/spec.ts";
import { createJob, findJob, listJobs, newJobId } from "../../src/jobs/job.ts";
import { checkRows } from "../../src/jobs/jsonl.ts";
import { type Lengths, withOrigin } from "../../src/placement/lengths.ts";
import type { GatewayEnv } from "./bindings.ts";
import { readBody } from "./body.ts";
import { holdMoney, nanoOf, pricesFor, settleMoney } from "./job-money.ts";
import { announce, cancelJob, jobFile, jobNotFound } from "./jobs.ts";
import { originBounds } from "./placing.ts";
import { findTarget, type Target } from "./target.ts";

export const batches = new Hono<GatewayEnv>();

batches.get("/", async (c) => {
  const query = parseWith(jobsQuerySchema, c.req.query(), "a list's query");
  return c.json(listJson(await listJobs(c.env.DB, c.get("caller").tenant, "batch", query), batchJson));
});

batches.post("/", async (c) => {
  const caller = c.get("caller");
  const request = await readBody(c.req.raw, newBatchSchema, "a batch");
  const { file, stream } = await jobFile(c, request.input_file_id, "batch", "input_file_id");
  const { MAX_PROMPT_TOKENS, MAX_NEW_TOKENS, MAX_SEQUENCES } = c.env;
  // An origin answers it, told of it or not.
  const lengths = withOrigin({ MAX_PROMPT_TOKENS, MAX_NEW_TOKENS, MAX_SEQUENCES }, originBounds(c.env));
  const now = Date.now();
  const prices = await pricesFor(c.env, caller.tenant, now);
  const targets = new Targets(c);
  const sizes = new Sizes(lengths);
  const seen = new Set<string>();
  let nano = 0;
  const rows = await checkRows(file.filename, stream, MOST_ROWS, async (json) => {
    const row = parseBatchRow(json);
    if (seen.has(row.customId)) {
      const message = `custom_id ${JSON.stringify(row.customId)} is another row's already. Name each its own.`;
      throw new ApiError(400, "invalid_value", message, { param: "custom_id" });
    }
    seen.add(row.customId);
    const target = await targets.of(row.request.model);
    const most = sizes.of(row, target);
    nano += nanoOf(prices, caller.tenant, { task: target.task?.name ?? null, model: target.modelName, ...most }, now);
  });
  const spec: BatchSpec = {
    endpoint: request.endpoint,
    completionWindow: request.completion_window,
    metadata: request.metadata,
    input: { id: file.id, key: file.key, filename: file.filename },
    rows,
    targets: targets.spec(),
    lengths,
  };
  const { tenant, key } = caller;
  const id = newJobId("batch");
  await holdMoney(c.env, caller, id, nano, now);
  const priority = PRIORITIES[request.priority];
  const quotas = { running: c.env.JOBS_RUNNING, waiting: c.env.JOBS_WAITING };
  const wanted = { id, tenant, key, kind: "batch", priority, spec, files: [file.id] } as const;
  const job = await createJob(c.env.DB, wanted, quotas, now).catch(async (error: unknown) => {
    await settleMoney(c.env, { tenant, id });
    throw error;
  });
  c.executionCtx.waitUntil(announce(c.env, [id]));
  return c.json(batchJson(job));
});

batches.get("/:batch", async (c) => {
  const id = c.req.param("batch");
  const job = await findJob(c.env.DB, c.get("caller").tenant, "batch", id);
  if (!job) throw jobNotFound(id, "batch");
  return c.json(batchJson(job));
});

batches.post("/:batch/cancel", async (c) => c.json(batchJson(await cancelJob(c, "batch", c.req.param("batch")))));

/** What rows ask for, each name looked up once. */
class Targets {
  readonly #c: Context<GatewayEnv>;
  readonly #found = new Map<string, Target>();

  constructor(c: Context<GatewayEnv>) {
    this.#c = c;
  }

  async of(name: string): Promise<Target> {
    const known = this.#found.get(name);
    if (known) return known;
    if (this.#found.size === MOST_TARGETS) {
      const message = `A batch may ask for up to ${MOST_TARGETS} models and tasks. Divide the file.`;
      throw new ApiError(400, "too_many_models", message, { param: "body.model" });
    }
    // Loaded where the batch runs.
    const target = await findTarget(this.#c, name, async () => {});
    this.#found.set(name, target);
    return target;
  }

  spec(): Record<string, BatchTarget> {
    const targets = [...this.#found].map(([name, { task, modelName, model, adapter }]): [string, BatchTarget] => [
      name,
      {
        task: task && { name: task.name, version: task.version, definition: task.definition },
        modelName,
        model: model.id,
        adapter: adapter && { name: adapter.name, key: adapter.key },
      },
    ]);
    return Object.fromEntries(targets);
  }
}

/** Characters of texts of a batch that are planned for their size: some seconds of processor. */
const MOST_PLANNED = 1_000_000;

interface Tokens {
  inputTokens: number;
  outputTokens: number;
}

/** The most tokens that rows can take; of summaries by sections, in the first round. */
class Sizes {
  readonly #lengths: Lengths;
  /** By target: what was planned of it. */
  readonly #planned = new Map<Target, Tokens & { characters: number }>();
  #characters = 0;

  constructor(lengths: Lengths) {
    this.#lengths = lengths;
  }

  /** @throws ApiError 400 as `/v1/completions`, but for texts that are too long: their rows come to errors of their own */
  of(row: BatchRow, target: Target): Tokens {
    const { task, model } = target;
    const asked = askRow(row, task, model.defaults, this.#lengths);
    if (asked.inputs.every(({ long }) => long === null)) return this.#whole(asked, target);
    const characters = asked.inputs.reduce((sum, { prompt }) => sum + prompt.length, 0);
    const known = this.#planned.get(target);
    if (known && this.#characters + characters > MOST_PLANNED) {
      const share = characters / known.characters;
      return {
        inputTokens: Math.ceil(share * known.inputTokens),
        outputTokens: Math.ceil(share * known.outputTokens),
      };
    }
    this.#characters += characters;
    const own = this.#pieces(row, asked, target);
    this.#planned.set(target, {
      characters: characters + (known?.characters ?? 0),
      inputTokens: own.inputTokens + (known?.inputTokens ?? 0),
      outputTokens: own.outputTokens + (known?.outputTokens ?? 0),
    });
    return own;
  }

  /** Not tokenized for that: a token is a byte at least. */
  #whole(asked: AskedRow, target: Target): Tokens {
    const most = this.#lengths.longest.MAX_PROMPT_TOKENS;
    const inputTokens = asked.inputs.reduce((sum, { prompt }) => sum + Math.min(most, 3 * prompt.length + 1), 0);
    return { inputTokens, outputTokens: outputOf(asked, target, asked.inputs.length, asked.maxNewTokens) };
  }

  #pieces(row: BatchRow, asked: AskedRow, target: Target): Tokens {
    try {
      const { size, pieces } = planRow(row, asked, { ...target, lengths: this.#lengths });
      const outputTokens = outputOf(asked, target, size.prompts, pieces?.newTokens ?? asked.maxNewTokens);
      return { inputTokens: size.promptTokens, outputTokens };
    } catch (error) {
      if (toApiError(error).status >= 500) throw error;
      return { inputTokens: 0, outputTokens: 0 };
    }
  }
}

function outputOf({ generation }: AskedRow, { task, model }: Target, prompts: number, newTokens: number): number {
  const labels = task?.definition.labels;
  if (labels) return mostLabelTokens(model.tokenizer, labels, prompts);
  return prompts * Math.max(generation.candidates, generation.params.num_return_sequences) * newTokens;
}
