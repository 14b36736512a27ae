/** The API as OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1), made of the schemas that check requests and answers. */
import * as z from "zod";
import { ONE_OR_LIST } from "../one-or-list.ts";
import { errorSchema, huggingFaceErrorSchema } from "./answers.ts";
import { OPERATIONS, type Operation, type Security } from "./operations.ts";

export type JsonSchema = Record<string, unknown>;

export interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  required: boolean;
  description?: string;
  schema: JsonSchema;
}

export interface Content {
  schema?: JsonSchema;
  example?: unknown;
}

export interface DocumentedAnswer {
  description: string;
  headers?: Record<string, { $ref: string }>;
  content?: Record<string, Content>;
}

export interface DocumentedOperation {
  operationId: string;
  summary: string;
  description?: string;
  tags: string[];
  security: Record<string, string[]>[];
  parameters: Parameter[];
  requestBody?: { required: boolean; content: Record<string, Content> };
  responses: Record<string, DocumentedAnswer | { $ref: string }>;
}

export interface OpenApiDocument {
  openapi: "3.1.1";
  info: { title: string; version: string; description: string; license: { name: string; identifier: string } };
  servers: { url: string }[];
  tags: { name: string }[];
  paths: Record<string, Record<string, DocumentedOperation>>;
  components: {
    schemas: Record<string, JsonSchema>;
    responses: Record<string, DocumentedAnswer>;
    headers: Record<string, { description: string; schema: JsonSchema }>;
    securitySchemes: Record<string, JsonSchema>;
  };
}

const STATUS: Readonly<Record<number, string>> = {
  200: "Done",
  201: "Made",
  204: "Done; there is nothing to tell",
  400: "The request is at fault; `param` names the field",
  401: "No key or token that works",
  402: "The tenant's budget is used up",
  403: "The key has not the scope for it",
  404: "It is not there, or not yours",
  409: "It does not go with what is there",
  411: "The length is missing",
  412: "What is there is not the version named in If-Match",
  413: "Too large",
  415: "Of no format that is read, or not what it is called",
  422: "A file that is damaged",
  429: "A limit is reached; `retry-after` says when to come again",
  500: "A defect; quote x-request-id",
  503: "Not now; `retry-after` says when to come again",
};

const SECURITY: Readonly<Record<Security, Record<string, string[]>[]>> = {
  none: [],
  key: [{ key: [] }],
  admin: [{ admin: [] }],
  metrics: [{ metrics: [] }, { admin: [] }],
};

const HEADERS = {
  "x-request-id": "The request's id: the one that it came with, where that has up to 128 of A-Z a-z 0-9 _ - =",
  "x-edge-t5-served-by": "Where the answer was made: edge, origin or cache",
  "retry-after": "Seconds",
};

const PATH_PARAMETERS: Readonly<Record<string, string>> = {
  name: "Its name",
  model: "The model's name",
  tenant: "The tenant's id",
  key: "The key's id, its visible part",
  id: "Its id",
  file: "The file's id",
  batch: "The batch's id",
  job: "The job's id",
  month: "Such as 2026-11",
  sha256: "64 hex digits",
  version: "The beginning of its manifest's SHA-256, 16 hex digits",
};

let made: OpenApiDocument | undefined;

/** Made once an isolate. */
export function openApiDocument(): OpenApiDocument {
  made ??= makeDocument();
  return made;
}

function makeDocument(): OpenApiDocument {
  const schemas: Record<string, JsonSchema> = {
    Error: schemaOf(errorSchema, "output"),
    HuggingFaceError: schemaOf(huggingFaceErrorSchema, "output"),
  };
  const paths: OpenApiDocument["paths"] = {};
  for (const operation of OPERATIONS) {
    const path = operation.path.replaceAll(/:(\w+)/g, "{$1}");
    paths[path] ??= {};
    paths[path][operation.method] = documented(operation, schemas);
  }
  const failed = (schema: string): DocumentedAnswer => ({
    description: "What went wrong, with a stable code",
    headers: headersOf(["x-request-id", "retry-after"]),
    content: { "application/json": { schema: { $ref: `#/components/schemas/${schema}` } } },
  });
  return {
    openapi: "3.1.1",
    info: {
      title: "edge-t5",
      version: "1",
      description:
        "T5 at the edge: tasks, completions, adapters, jobs, keys and usage of a tenant's, and the control plane of a deployment.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    tags: [...new Set(OPERATIONS.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas,
      responses: { Error: failed("Error"), HuggingFaceError: failed("HuggingFaceError") },
      headers: Object.fromEntries(
        Object.entries(HEADERS).map(([name, description]) => [
          name,
          { description, schema: { type: name === "retry-after" ? "integer" : "string" } },
        ]),
      ),
      securitySchemes: {
        key: { type: "http", scheme: "bearer", description: "A tenant's API key, et5_…" },
        admin: { type: "http", scheme: "bearer", description: "The deployment's secret ADMIN_TOKEN" },
        metrics: { type: "http", scheme: "bearer", description: "The deployment's secret METRICS_TOKEN" },
      },
    },
  };
}

function documented(operation: Operation, schemas: Record<string, JsonSchema>): DocumentedOperation {
  const { id, summary, tag, security, scopes, body, answer, errors = [], isHuggingFace } = operation;
  const named = ([name, schema]: readonly [string, z.ZodType], io: "input" | "output"): JsonSchema => {
    schemas[name] ??= schemaOf(schema, io);
    return { $ref: `#/components/schemas/${name}` };
  };
  const refusals = security === "none" ? [] : security === "key" ? [401, 403] : [401];
  const failed = (status: number): [string, DocumentedAnswer] => [
    String(status),
    {
      description: STATUS[status] ?? "An error",
      headers: headersOf(status === 429 || status === 503 ? ["x-request-id", "retry-after"] : ["x-request-id"]),
      content: {
        "application/json": {
          schema: { $ref: `#/components/schemas/${isHuggingFace ? "HuggingFaceError" : "Error"}` },
        },
      },
    },
  ];
  const succeeded = (status: number): [string, DocumentedAnswer] => [
    String(status),
    {
      description: STATUS[status] ?? "Done",
      headers: headersOf(tag === "Run" && body ? ["x-request-id", "x-edge-t5-served-by"] : ["x-request-id"]),
      ...(status !== 204 && {
        content: {
          ...(answer.schema && { "application/json": { schema: named(answer.schema, "output") } }),
          ...Object.fromEntries((answer.types ?? []).map((type) => [type, {}])),
        },
      }),
    },
  ];
  const statuses = [...new Set([...refusals, ...errors])].sort();
  const scope = scopes ? `The key needs the scope ${scopes.join(" or ")}.` : "";
  const told = [scope, operation.description ?? ""].filter(Boolean).join(" ");
  return {
    operationId: id,
    summary,
    ...(told && { description: told }),
    tags: [tag],
    security: SECURITY[security],
    parameters: parametersOf(operation),
    ...(body && { requestBody: { required: !body.isOptional, content: contentOf(body, named) } }),
    responses: Object.fromEntries<DocumentedAnswer | { $ref: string }>([
      ...[answer.status, ...(answer.also ?? [])].map(succeeded),
      ...statuses.map(failed),
      ["default", { $ref: `#/components/responses/${isHuggingFace ? "HuggingFaceError" : "Error"}` }],
    ]),
  };
}

function contentOf(
  { schema, type = "application/json", example, form, orFile }: NonNullable<Operation["body"]>,
  named: (schema: readonly [string, z.ZodType], io: "input") => JsonSchema,
): Record<string, Content> {
  const fields = Object.entries(form ?? {}).map(([name, kind]) => [name, kind === "file" ? BYTES : { type: "string" }]);
  const formSchema = form && {
    schema: { type: "object", properties: Object.fromEntries(fields), required: Object.keys(form) },
  };
  return {
    [type]: {
      ...(schema ? { schema: named(schema, "input") } : formSchema),
      ...(example !== undefined && { example }),
    },
    ...(orFile && {
      "multipart/form-data": { schema: { type: "object", properties: { file: BYTES }, description: FORM_WITH_FILE } },
      "application/octet-stream": { schema: BYTES },
    }),
  };
}

const FORM_WITH_FILE =
  "The file, and beside it the fields of JSON, each a text, or JSON. `languages` stands before `file`, which is read as it comes.";
const BYTES: JsonSchema = { type: "string", contentMediaType: "application/octet-stream" };

function parametersOf({ path, query, headers = {} }: Operation): Parameter[] {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(
    ([, name = ""]): Parameter => ({
      ...{ name, in: "path", required: true, description: PATH_PARAMETERS[name] ?? name },
      schema: { type: "string" },
    }),
  );
  const { properties = {} } = (query ? schemaOf(query, "input") : {}) as { properties?: Record<string, JsonSchema> };
  const inQuery = Object.entries(properties).map(
    ([name, schema]): Parameter => ({ name, in: "query", required: false, schema }),
  );
  const inHeaders = Object.entries({
    ...headers,
    "x-request-id": "An id of yours for this request; the answer says it again.",
  }).map(
    ([name, description]): Parameter => ({
      ...{ name, in: "header", required: false, description },
      schema: { type: "string" },
    }),
  );
  return [...inPath, ...inQuery, ...inHeaders];
}

function headersOf(names: readonly string[]): Record<string, { $ref: string }> {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): JsonSchema {
  const { $schema: _, ...json } = z.toJSONSchema(schema, {
    io,
    unrepresentable: "any",
    override: ({ jsonSchema }) => {
      const own = jsonSchema as JsonSchema;
      if (!own[ONE_OR_LIST]) return;
      delete own[ONE_OR_LIST];
      const list = { ...own };
      for (const key of Object.keys(own)) delete own[key];
      own.anyOf = [{ type: "string", minLength: 1 }, list];
    },
  });
  return json;
}
