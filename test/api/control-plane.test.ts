/** The control plane's schemas say what is taken and given, for OpenAPI too. */
import fc from "fast-check";
import { expect, test } from "vitest";
import * as z from "zod";
import * as api from "../../src/api/control-plane.ts";
import { dollarsOf, dollarsSchema } from "../../src/api/money.ts";
import { taskDefinitionSchema } from "../../src/tenancy/task-definition.ts";

const jsonSchema = (schema: z.ZodType, io: "input" | "output") =>
  z.toJSONSchema(schema, { io }) as { properties: Record<string, object>; required?: string[] };

test.each([
  ["a tenant", api.newTenantSchema, ["id", "name"]],
  ["a tenant's change", api.tenantChangeSchema, undefined],
  ["a key", api.newKeySchema, ["name"]],
  ["a rotation", api.rotationSchema, undefined],
  ["a task", taskDefinitionSchema, ["model", "template"]],
] as const)("%s as it is taken has a JSON schema", (_, schema, required) => {
  expect(jsonSchema(schema, "input").required).toEqual(required);
});

test.each([
  ["a tenant", api.tenantSchema],
  ["a key", api.keySchema],
  ["a key that was made", api.madeKeySchema],
  ["a key that was rotated", api.rotatedKeySchema],
  ["a task", api.taskSchema],
  ["a task's definition", taskDefinitionSchema],
  ["a list", api.listSchema(api.taskSchema)],
])("%s as it is given has a JSON schema, in which every field is there", (_, schema) => {
  const { properties, required } = jsonSchema(schema, "output");
  expect(required).toEqual(Object.keys(properties));
});

test("dollars are exact to a billionth, both ways", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 999_999_999_999_999 }), (nano) => {
      expect(dollarsSchema.parse(dollarsOf(nano))).toBe(nano);
    }),
  );
  expect(dollarsSchema.parse("12.50")).toBe(12_500_000_000);
  expect(dollarsOf(1)).toBe("0.000000001");
});
