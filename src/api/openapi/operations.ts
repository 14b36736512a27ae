/** Every route of the gateway: who may call it, what it takes and what it gives, by the schemas that check both. */
import * as z from "zod";
import type { Scope } from "../../tenancy/caller.ts";
import { taskDefinitionSchema } from "../../tenancy/task-definition.ts";
import { batchSchema, newBatchSchema } from "../batches.ts";
import { completionRequestSchema } from "../completions.ts";
import {
  deletedTaskSchema,
  keySchema,
  listSchema,
  madeKeySchema,
  newKeySchema,
  newTenantSchema,
  pageSchema,
  rotatedKeySchema,
  rotationSchema,
  taskSchema,
  taskVersionsSchema,
  tenantChangeSchema,
  tenantSchema,
} from "../control-plane.ts";
import { deletedFileSchema, fileSchema, filesQuerySchema } from "../files.ts";
import {
  deletedModelSchema,
  fineTuningCheckpointSchema,
  fineTuningEventSchema,
  fineTuningJobSchema,
  newFineTuningSchema,
} from "../fine-tuning.ts";
import { huggingFaceSchema } from "../hugging-face.ts";
import { jobsQuerySchema } from "../jobs.ts";
import {
  eventsQuerySchema,
  invoiceQuerySchema,
  newPriceSchema,
  stripeCustomerSchema,
  usageQuerySchema,
} from "../metering.ts";
import { publishSchema, rollbackSchema } from "../model-versions.ts";
import { taskRunSchema } from "../task-run.ts";
import * as answers from "./answers.ts";

export type Method = "get" | "put" | "post" | "patch" | "delete";

export type Security = "key" | "admin" | "metrics" | "none";

export interface Operation {
  method: Method;
  /** As the router has it: `/v1/tasks/:name`. */
  path: string;
  id: string;
  tag: string;
  summary: string;
  description?: string;
  security: Security;
  /** One of them is needed; of `key` alone. */
  scopes?: readonly Scope[];
  query?: z.ZodObject;
  /** Of requests, beside those that all have. */
  headers?: Readonly<Record<string, string>>;
  body?: {
    /** By its name in the document; null: bytes. */
    schema: readonly [name: string, schema: z.ZodType] | null;
    type?: string;
    isOptional?: boolean;
    example?: unknown;
    /** The form's fields, of a `multipart/form-data`. */
    form?: Readonly<Record<string, "text" | "file">>;
    /** Whether a file may come in its place, in a form or alone. */
    orFile?: boolean;
  };
  /** Status of success, and what comes with it; null: nothing. */
  answer: {
    status: 200 | 201 | 204;
    schema: readonly [name: string, schema: z.ZodType] | null;
    /** Other statuses of success with the same answer. */
    also?: readonly (200 | 201)[];
    /** Instead of, or beside, JSON. */
    types?: readonly string[];
  };
  /** Errors beside those that all routes have. */
  errors?: readonly number[];
  isHuggingFace?: boolean;
}

const RUN_ERRORS = [400, 402, 404, 413, 429, 503] as const;
const PROMPT = "translate English to German: The house is old.";

const COMPLETION = { schema: ["CompletionRequest", completionRequestSchema] } as const;

const LONG_TEXTS =
  "With a task's name, texts of any length go as its `long` says. What one prompt's answer has alone (several answers, log-probabilities, echo, stop) is for texts that fit; `max_tokens` of a longer one is each piece's.";

const running: Operation[] = [
  {
    ...{ method: "post", path: "/v1/completions", id: "createCompletion", tag: "Run" },
    summary: "OpenAI's completions, of a model or of one of the tenant's tasks",
    description: LONG_TEXTS,
    ...{ security: "key", scopes: ["tasks:run"] },
    body: { ...COMPLETION, example: { model: "default", prompt: PROMPT } },
    answer: { status: 200, schema: ["Completion", answers.completionSchema], types: ["text/event-stream"] },
    errors: RUN_ERRORS,
  },
  {
    ...{ method: "post", path: "/v1/tasks/:name", id: "runTask", tag: "Run" },
    summary: "One input, or a list of them, through a task",
    description:
      "A file comes as a form's part `file`, beside parts that are called as the fields of JSON, or as the body itself, with its content type and the fields in the query. A stream's events have `index`, `text` and `finish_reason`, the last one `usage`; while a long text is summed up, events whose `object` is `task.progress` tell how many prompts of the model are done, and of how many.",
    ...{ security: "key", scopes: ["tasks:run"] },
    body: { schema: ["TaskRun", taskRunSchema], example: { input: "The house is old." }, orFile: true },
    answer: { status: 200, schema: ["TaskResult", answers.taskResultSchema], types: ["text/event-stream"] },
    errors: [...RUN_ERRORS, 415, 422],
  },
  {
    ...{ method: "post", path: "/models/:name", id: "runHuggingFace", tag: "Run" },
    summary: "Hugging Face's inference, of a model or a task",
    description: LONG_TEXTS,
    ...{ security: "key", scopes: ["tasks:run"] },
    body: { schema: ["HuggingFaceRequest", huggingFaceSchema], example: { inputs: PROMPT } },
    answer: { status: 200, schema: ["HuggingFaceAnswer", answers.huggingFaceAnswerSchema] },
    ...{ errors: RUN_ERRORS, isHuggingFace: true },
  },
  {
    ...{ method: "post", path: "/models/:name/v1/completions", id: "createHuggingFaceCompletion", tag: "Run" },
    summary: "What Hugging Face's client asks for a text generation: completions of the model in the path",
    description: LONG_TEXTS,
    ...{ security: "key", scopes: ["tasks:run"] },
    body: { ...COMPLETION, example: { model: "default", prompt: PROMPT } },
    answer: { status: 200, schema: ["Completion", answers.completionSchema], types: ["text/event-stream"] },
    ...{ errors: RUN_ERRORS, isHuggingFace: true },
  },
  {
    ...{ method: "get", path: "/v1/models", id: "listModels", tag: "Run", summary: "Models that the key may use" },
    ...{ security: "key", scopes: ["tasks:run"], answer: { status: 200, schema: ["Models", answers.modelsSchema] } },
  },
  {
    ...{ method: "get", path: "/v1/models/:model", id: "getModel", tag: "Run", summary: "A model" },
    ...{ security: "key", scopes: ["tasks:run"], answer: { status: 200, schema: ["Model", answers.modelSchema] } },
    errors: [404, 503],
  },
];

const FILE = { status: 200, schema: ["File", fileSchema] } as const;
const BATCH = { status: 200, schema: ["Batch", batchSchema] } as const;
const TUNING = { status: 200, schema: ["FineTuningJob", fineTuningJobSchema] } as const;
const FILES = { security: "key", tag: "Files", scopes: ["files:write"] } as const;
const BATCHES = { security: "key", tag: "Batches", scopes: ["jobs:write"] } as const;
const FINE_TUNING = { security: "key", tag: "Fine-tuning", scopes: ["jobs:write"] } as const;

/** OpenAI's shapes. */
const jobs: Operation[] = [
  {
    ...{ method: "get", path: "/v1/files", id: "listFiles", summary: "Files, the newest first" },
    ...{ ...FILES, query: filesQuerySchema, errors: [400] },
    answer: { status: 200, schema: ["FileList", listSchema(fileSchema)] },
  },
  {
    ...{ method: "post", path: "/v1/files", id: "createFile", summary: "Uploads a file for jobs: JSON lines" },
    ...{ ...FILES, errors: [400, 413], answer: FILE },
    body: { schema: null, type: "multipart/form-data", form: { purpose: "text", file: "file" } },
  },
  {
    ...{ method: "get", path: "/v1/files/:file", id: "getFile", summary: "A file's name, size and purpose" },
    ...{ ...FILES, errors: [404], answer: FILE },
  },
  {
    ...{ method: "get", path: "/v1/files/:file/content", id: "getFileContent", summary: "A file's bytes" },
    ...{ ...FILES, errors: [404], answer: { status: 200, schema: null, types: ["application/octet-stream"] } },
  },
  {
    ...{ method: "delete", path: "/v1/files/:file", id: "deleteFile", summary: "Deletes a file that no job reads" },
    ...{ ...FILES, errors: [404, 409], answer: { status: 200, schema: ["DeletedFile", deletedFileSchema] } },
  },
  {
    ...{ method: "get", path: "/v1/batches", id: "listBatches", summary: "Batches, the newest first" },
    ...{ ...BATCHES, query: jobsQuerySchema, errors: [400] },
    answer: { status: 200, schema: ["BatchList", listSchema(batchSchema)] },
  },
  {
    ...{ method: "post", path: "/v1/batches", id: "createBatch", summary: "Has a file's rows answered by an origin" },
    description: "Each row is answered as `/v1/completions` answers it, a task's texts of any length included.",
    ...{ ...BATCHES, errors: [400, 402, 404, 429], answer: BATCH },
    body: { schema: ["NewBatch", newBatchSchema] },
  },
  {
    ...{ method: "get", path: "/v1/batches/:batch", id: "getBatch", summary: "How far a batch is" },
    ...{ ...BATCHES, errors: [404], answer: BATCH },
  },
  {
    ...{ method: "post", path: "/v1/batches/:batch/cancel", id: "cancelBatch" },
    ...{
      summary: "Ends a batch; what was answered until then is there",
      ...BATCHES,
      errors: [404, 409],
      answer: BATCH,
    },
  },
  {
    ...{ method: "get", path: "/v1/fine_tuning/jobs", id: "listFineTuningJobs", summary: "Jobs, the newest first" },
    ...{ ...FINE_TUNING, query: jobsQuerySchema, errors: [400] },
    answer: { status: 200, schema: ["FineTuningJobList", listSchema(fineTuningJobSchema)] },
  },
  {
    ...{ method: "post", path: "/v1/fine_tuning/jobs", id: "createFineTuningJob" },
    ...{ summary: "Has an adapter trained by an origin", ...FINE_TUNING, errors: [400, 404, 429], answer: TUNING },
    body: { schema: ["NewFineTuning", newFineTuningSchema] },
  },
  {
    ...{ method: "get", path: "/v1/fine_tuning/jobs/:job", id: "getFineTuningJob", summary: "How far a job is" },
    ...{ ...FINE_TUNING, errors: [404], answer: TUNING },
  },
  {
    ...{ method: "get", path: "/v1/fine_tuning/jobs/:job/events", id: "listFineTuningEvents" },
    ...{ summary: "What happened, the latest first", ...FINE_TUNING, query: jobsQuerySchema, errors: [400, 404] },
    answer: { status: 200, schema: ["FineTuningEvents", listSchema(fineTuningEventSchema)] },
  },
  {
    ...{ method: "get", path: "/v1/fine_tuning/jobs/:job/checkpoints", id: "listFineTuningCheckpoints" },
    ...{ summary: "Checkpoints, the latest first", ...FINE_TUNING, query: jobsQuerySchema, errors: [400, 404] },
    answer: { status: 200, schema: ["FineTuningCheckpoints", listSchema(fineTuningCheckpointSchema)] },
  },
  {
    ...{ method: "post", path: "/v1/fine_tuning/jobs/:job/cancel", id: "cancelFineTuningJob", summary: "Ends a job" },
    ...{ ...FINE_TUNING, errors: [404, 409], answer: TUNING },
  },
  {
    ...{ method: "delete", path: "/v1/models/:model", id: "deleteModel", tag: "Fine-tuning" },
    ...{ summary: "Deletes a model that was tuned for the tenant", security: "key", scopes: ["adapters:write"] },
    ...{ errors: [404], answer: { status: 200, schema: ["DeletedModel", deletedModelSchema] } },
  },
];

/** A collection of a tenant's: with a key below `/v1`, with the admin's token below `/admin/tenants/:tenant`. */
type Owned = Omit<Operation, "security">;

const TASK = { model: "default", template: "translate English to German: {input}" };

const tasks: Owned[] = [
  {
    ...{ method: "get", path: "/tasks", id: "listTasks", tag: "Tasks", summary: "Tasks", query: pageSchema },
    ...{ scopes: ["tasks:run", "tasks:write"], errors: [400] },
    answer: { status: 200, schema: ["TaskList", listSchema(taskSchema)] },
  },
  {
    ...{
      method: "get",
      path: "/tasks/:name",
      id: "getTask",
      tag: "Tasks",
      summary: "A task, or an older version of it",
    },
    query: z.object({ version: z.int().min(1).optional() }),
    ...{ scopes: ["tasks:run", "tasks:write"], errors: [400, 404] },
    answer: { status: 200, schema: ["Task", taskSchema] },
  },
  {
    ...{ method: "get", path: "/tasks/:name/versions", id: "listTaskVersions", tag: "Tasks" },
    ...{ summary: "A task's versions", scopes: ["tasks:run", "tasks:write"], errors: [404] },
    answer: { status: 200, schema: ["TaskVersions", taskVersionsSchema] },
  },
  {
    ...{
      method: "put",
      path: "/tasks/:name",
      id: "putTask",
      tag: "Tasks",
      summary: "Makes a task, or its next version",
    },
    headers: { "If-Match": "The version that is to be replaced, such as 3; * for any." },
    ...{ scopes: ["tasks:write"], errors: [400, 409, 412, 413] },
    body: { schema: ["TaskDefinition", taskDefinitionSchema], example: TASK },
    answer: { status: 200, also: [201], schema: ["Task", taskSchema] },
  },
  {
    ...{ method: "delete", path: "/tasks/:name", id: "deleteTask", tag: "Tasks", summary: "Deletes a task" },
    headers: { "If-Match": "The version that is to be deleted; * for any." },
    ...{ scopes: ["tasks:write"], errors: [400, 404, 412] },
    answer: { status: 200, schema: ["DeletedTask", deletedTaskSchema] },
  },
];

const adapters: Owned[] = [
  {
    ...{ method: "get", path: "/adapters", id: "listAdapters", tag: "Adapters", summary: "LoRA adapters" },
    ...{ query: pageSchema, scopes: ["tasks:run", "adapters:write"], errors: [400] },
    answer: { status: 200, schema: ["AdapterList", listSchema(answers.adapterSchema)] },
  },
  {
    ...{ method: "get", path: "/adapters/:name", id: "getAdapter", tag: "Adapters", summary: "An adapter" },
    ...{ scopes: ["tasks:run", "adapters:write"], errors: [404] },
    answer: { status: 200, schema: ["Adapter", answers.adapterSchema] },
  },
  {
    ...{ method: "put", path: "/adapters/:name", id: "putAdapter", tag: "Adapters" },
    summary: "Uploads an adapter in PEFT's two files; answered when it was checked against its base and used once",
    ...{ scopes: ["adapters:write"], errors: [400, 404, 413, 503] },
    body: {
      ...{ schema: null, type: "multipart/form-data" },
      form: { model: "text", "adapter_config.json": "file", "adapter_model.safetensors": "file" },
    },
    answer: { status: 200, also: [201], schema: ["Adapter", answers.adapterSchema] },
  },
  {
    ...{
      method: "delete",
      path: "/adapters/:name",
      id: "deleteAdapter",
      tag: "Adapters",
      summary: "Deletes an adapter",
    },
    ...{ scopes: ["adapters:write"], errors: [404] },
    answer: { status: 200, schema: ["DeletedAdapter", answers.deletedAdapterSchema] },
  },
];

const keys: Owned[] = [
  {
    ...{ method: "get", path: "/keys", id: "listKeys", tag: "Keys", summary: "API keys", query: pageSchema },
    ...{ scopes: ["keys:write"], errors: [400], answer: { status: 200, schema: ["KeyList", listSchema(keySchema)] } },
  },
  {
    ...{ method: "post", path: "/keys", id: "createKey", tag: "Keys", summary: "Makes a key; it is shown this once" },
    ...{ scopes: ["keys:write"], errors: [400, 413] },
    body: { schema: ["NewKey", newKeySchema], example: { name: "website", scopes: ["tasks:run"] } },
    answer: { status: 201, schema: ["MadeKey", madeKeySchema] },
  },
  {
    ...{ method: "get", path: "/keys/:key", id: "getKey", tag: "Keys", summary: "A key, without its secret" },
    ...{ scopes: ["keys:write"], errors: [404], answer: { status: 200, schema: ["Key", keySchema] } },
  },
  {
    ...{ method: "post", path: "/keys/:key/rotate", id: "rotateKey", tag: "Keys" },
    summary: "Makes a key in another's place; the old one works on for a while",
    ...{ scopes: ["keys:write"], errors: [400, 404, 409] },
    body: { schema: ["Rotation", rotationSchema], isOptional: true, example: { overlap_seconds: 3600 } },
    answer: { status: 201, schema: ["RotatedKey", rotatedKeySchema] },
  },
  {
    ...{ method: "delete", path: "/keys/:key", id: "revokeKey", tag: "Keys", summary: "Revokes a key" },
    ...{ scopes: ["keys:write"], errors: [404], answer: { status: 200, schema: ["Key", keySchema] } },
  },
];

const usage: Owned[] = [
  {
    ...{ method: "get", path: "/usage", id: "getUsage", tag: "Usage", query: usageQuerySchema },
    summary: "What was used, by day, key, task or model",
    ...{ scopes: ["usage:read"], errors: [400] },
    answer: { status: 200, schema: ["UsagePage", answers.usagePageSchema], types: ["text/csv"] },
  },
  {
    ...{ method: "get", path: "/usage/events", id: "listUsageEvents", tag: "Usage", query: eventsQuerySchema },
    ...{ summary: "The ledger: one event a request", scopes: ["usage:read"], errors: [400] },
    answer: { status: 200, schema: ["UsageEvents", answers.eventsPageSchema], types: ["text/csv"] },
  },
  {
    ...{ method: "get", path: "/invoices/:month", id: "getInvoice", tag: "Usage", query: invoiceQuerySchema },
    ...{ summary: "A month's invoice", scopes: ["usage:read"], errors: [400] },
    answer: { status: 200, schema: ["Invoice", answers.invoiceSchema], types: ["text/csv"] },
  },
];

const owned = [...tasks, ...adapters, ...keys, ...usage];

function ofTenant({ scopes: _, ...operation }: Owned): Operation {
  const { path, id, tag, errors = [] } = operation;
  return {
    ...operation,
    ...{ path: `/admin/tenants/:tenant${path}`, id: `${id}OfTenant`, tag: `Admin: ${tag.toLowerCase()}` },
    ...{ security: "admin", errors: [...new Set([...errors, 404])] },
  };
}

const admin: Operation[] = [
  {
    ...{ method: "post", path: "/admin/tenants", id: "createTenant", tag: "Admin: tenants", summary: "Makes a tenant" },
    ...{ security: "admin", errors: [400, 409] },
    body: {
      schema: ["NewTenant", newTenantSchema],
      example: { id: "acme", name: "Acme", limits: { concurrency: 8, hard_budget: "50" } },
    },
    answer: { status: 201, schema: ["Tenant", tenantSchema] },
  },
  {
    ...{ method: "get", path: "/admin/tenants", id: "listTenants", tag: "Admin: tenants", summary: "Tenants" },
    ...{ security: "admin", query: pageSchema, errors: [400] },
    answer: { status: 200, schema: ["TenantList", listSchema(tenantSchema)] },
  },
  {
    ...{ method: "get", path: "/admin/tenants/:tenant", id: "getTenant", tag: "Admin: tenants", summary: "A tenant" },
    ...{ security: "admin", errors: [404], answer: { status: 200, schema: ["Tenant", tenantSchema] } },
  },
  {
    ...{ method: "patch", path: "/admin/tenants/:tenant", id: "changeTenant", tag: "Admin: tenants" },
    ...{ summary: "Changes a tenant", security: "admin", errors: [400, 404] },
    body: { schema: ["TenantChange", tenantChangeSchema], example: { limits: { soft_budget: "40" } } },
    answer: { status: 200, schema: ["Tenant", tenantSchema] },
  },
  ...owned.map(ofTenant),
  {
    ...{ method: "put", path: "/admin/tenants/:tenant/stripe", id: "setStripeCustomer", tag: "Admin: bills" },
    ...{ summary: "Whom Stripe bills for a tenant", security: "admin", errors: [400, 404] },
    body: { schema: ["StripeCustomer", stripeCustomerSchema], example: { customer: "cus_NciAYcXfLnqBoz" } },
    answer: { status: 200, schema: ["TenantStripe", answers.stripeCustomerAnswerSchema] },
  },
  {
    ...{ method: "get", path: "/admin/prices", id: "listPrices", tag: "Admin: bills", summary: "Prices" },
    ...{ security: "admin", query: pageSchema.extend({ tenant: z.string().optional() }), errors: [400] },
    answer: { status: 200, schema: ["PriceList", listSchema(answers.listedPriceSchema)] },
  },
  {
    ...{ method: "post", path: "/admin/prices", id: "createPrice", tag: "Admin: bills" },
    ...{ summary: "Sets a price that holds from now or a later time on", security: "admin", errors: [400, 404, 409] },
    description:
      "Amounts that are left out are those of the version before it, of the same tenant, task and model; in a first version they are 0.",
    body: { schema: ["NewPrice", newPriceSchema], example: { input_per_1k: "0.0015", output_per_1k: "0.003" } },
    answer: { status: 201, schema: ["Price", answers.priceSchema] },
  },
  {
    ...{ method: "delete", path: "/admin/prices/:id", id: "withdrawPrice", tag: "Admin: bills" },
    ...{ summary: "Takes a price back that does not hold yet", security: "admin", errors: [404, 409] },
    answer: { status: 204, schema: null },
  },
  {
    ...{ method: "get", path: "/admin/dead-letters", id: "listDeadLetters", tag: "Admin: bills" },
    ...{ summary: "Usage that could not be written", security: "admin", errors: [400] },
    query: pageSchema.extend({ replayed: z.enum(["true", "false"]).optional() }),
    answer: { status: 200, schema: ["DeadLetterList", listSchema(answers.deadLetterSchema)] },
  },
  {
    ...{ method: "post", path: "/admin/dead-letters/replay", id: "replayDeadLetters", tag: "Admin: bills" },
    ...{ summary: "Writes all of them that can be written", security: "admin" },
    answer: { status: 200, schema: ["Replay", answers.replaySchema] },
  },
  {
    ...{ method: "post", path: "/admin/dead-letters/:id/replay", id: "replayDeadLetter", tag: "Admin: bills" },
    ...{ summary: "Writes one of them", security: "admin", errors: [404, 409] },
    answer: { status: 200, schema: ["Replay", answers.replaySchema] },
  },
  {
    ...{ method: "get", path: "/admin/stripe", id: "getStripe", tag: "Admin: bills", summary: "What waits for Stripe" },
    ...{ security: "admin", answer: { status: 200, schema: ["Stripe", answers.stripeSchema] } },
  },
  {
    ...{ method: "post", path: "/admin/stripe/flush", id: "flushStripe", tag: "Admin: bills" },
    ...{ summary: "Sends what waits, now", security: "admin", errors: [409] },
    answer: { status: 200, schema: ["StripeFlush", answers.stripeFlushSchema] },
  },
  {
    ...{ method: "get", path: "/admin/models", id: "listModelVersions", tag: "Admin: models" },
    ...{ summary: "Models, with their versions", security: "admin" },
    answer: { status: 200, schema: ["AllModelVersions", answers.allModelVersionsSchema] },
  },
  {
    ...{ method: "get", path: "/admin/models/:name", id: "getModelVersions", tag: "Admin: models" },
    ...{ summary: "A model's versions", security: "admin", errors: [400, 404] },
    answer: { status: 200, schema: ["ModelVersions", answers.modelVersionsSchema] },
  },
  {
    ...{ method: "get", path: "/admin/models/:name/blobs/:sha256", id: "getBlob", tag: "Admin: models" },
    ...{ summary: "Whether a blob is there, and whole", security: "admin", errors: [400, 404] },
    answer: { status: 200, schema: ["Blob", answers.blobSchema] },
  },
  {
    ...{ method: "put", path: "/admin/models/:name/blobs/:sha256", id: "putBlob", tag: "Admin: models" },
    ...{ summary: "Uploads a blob, which is hashed on the way", security: "admin", errors: [400, 411] },
    body: { schema: null, type: "application/octet-stream" },
    answer: { status: 200, schema: ["Blob", answers.blobSchema] },
  },
  {
    ...{ method: "put", path: "/admin/models/:name/versions/:version", id: "putVersion", tag: "Admin: models" },
    ...{ summary: "Writes a version's manifest", security: "admin", errors: [400, 409, 413] },
    body: { schema: null, type: "application/json" },
    answer: { status: 200, schema: ["PutVersion", answers.putVersionSchema] },
  },
  {
    ...{ method: "post", path: "/admin/models/:name/publish", id: "publishVersion", tag: "Admin: models" },
    ...{ summary: "Has requests get a version, once the Workers have loaded it", security: "admin" },
    errors: [400, 404, 409, 503],
    body: { schema: ["Publication", publishSchema], example: { version: "0123456789abcdef" } },
    answer: { status: 200, schema: ["CurrentVersion", answers.movedSchema] },
  },
  {
    ...{ method: "post", path: "/admin/models/:name/rollback", id: "rollbackModel", tag: "Admin: models" },
    ...{ summary: "Has requests get the version before, or the one named", security: "admin", errors: [400, 404, 409] },
    body: { schema: ["Rollback", rollbackSchema], isOptional: true, example: {} },
    answer: { status: 200, schema: ["CurrentVersion", answers.movedSchema] },
  },
  {
    ...{ method: "delete", path: "/admin/models/:name/versions/:version", id: "deleteVersion", tag: "Admin: models" },
    ...{ summary: "Deletes a version, and the blobs that no other names", security: "admin", errors: [400, 404, 409] },
    answer: { status: 200, schema: ["DeletedVersion", answers.deletedVersionSchema] },
  },
];

const operating: Operation[] = [
  {
    ...{ method: "get", path: "/healthz", id: "getHealth", tag: "Operating", security: "none" },
    ...{
      summary: "Whether all Workers answer; with the metrics token, what they hold",
      description: "Readers of files and images are asked too where the deployment has them.",
      errors: [503],
      answer: { status: 200, schema: ["Health", answers.healthSchema] },
    },
  },
  {
    ...{ method: "get", path: "/metrics", id: "getMetrics", tag: "Operating", security: "metrics" },
    summary: "Metrics of all Workers, for Prometheus: of the isolates that answer, since they started",
    answer: { status: 200, schema: null, types: ["text/plain"] },
  },
  {
    ...{ method: "get", path: "/openapi.json", id: "getDocument", tag: "Operating", security: "none" },
    summary: "This document",
    answer: { status: 200, schema: null, types: ["application/json"] },
  },
  {
    ...{ method: "get", path: "/docs", id: "getReference", tag: "Operating", security: "none" },
    ...{ summary: "This document, to read", answer: { status: 200, schema: null, types: ["text/html"] } },
  },
  {
    ...{ method: "get", path: "/", id: "getConsole", tag: "Operating", security: "none" },
    ...{ summary: "A page to try tasks on", answer: { status: 200, schema: null, types: ["text/html"] } },
  },
  {
    ...{ method: "get", path: "/console.js", id: "getConsoleScript", tag: "Operating", security: "none" },
    ...{ summary: "That page's script", answer: { status: 200, schema: null, types: ["text/javascript"] } },
  },
];

export const OPERATIONS: readonly Operation[] = [
  ...running,
  ...jobs,
  ...owned.map((operation): Operation => ({ ...operation, path: `/v1${operation.path}`, security: "key" })),
  ...admin,
  ...operating,
];
