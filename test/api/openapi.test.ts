/** The API's document by itself; test/workers/openapi.test.ts holds it against the gateway. */
import { Validator } from "@seriousme/openapi-schema-validator";
import { expect, test } from "vitest";
import { openApiDocument } from "../../src/api/openapi/document.ts";

test("is a valid OpenAPI 3.1 document", async () => {
  const validator = new Validator();
  const { valid, errors } = await validator.validate(
    structuredClone(openApiDocument()) as unknown as Record<string, unknown>,
  );
  expect(errors).toBeUndefined();
  expect([valid, validator.version]).toEqual([true, "3.1"]);
});

test("names every operation once, and every schema that it points to is there", () => {
  const document = openApiDocument();
  const ids = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  );
  expect(new Set(ids).size).toBe(ids.length);
  const pointers = [...JSON.stringify(document).matchAll(/"#\/components\/(\w+)\/([\w-]+)"/g)];
  expect(pointers.length).toBeGreaterThan(100);
  const { components } = document as unknown as { components: Record<string, Record<string, unknown>> };
  for (const [pointer, kind = "", name = ""] of pointers) expect(components[kind]?.[name], pointer).toBeDefined();
});

test("tells where a form's languages stand, and that rows are numbered from 1 on", () => {
  const { paths, components } = openApiDocument() as unknown as {
    paths: Record<string, { post: { requestBody: { content: Record<string, { schema: { description?: string } }> } } }>;
    components: { schemas: { TaskRun: object } };
  };
  const { content } = paths["/v1/tasks/{name}"]!.post.requestBody;
  expect(content["multipart/form-data"]?.schema.description).toMatch(/`languages` stands before `file`/);
  expect(components.schemas.TaskRun).toMatchObject({
    properties: { select: { properties: { rows: { properties: { from: { type: "integer", minimum: 1 } } } } } },
  });
});
