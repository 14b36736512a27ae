/** The tasks of the first run, as the control plane takes them. */
import { expect, test } from "vitest";
import { DEMO_TASKS, definitionOfDemo } from "../../src/local/demo.ts";
import { taskDefinitionSchema } from "../../src/tenancy/task-definition.ts";

test.each(DEMO_TASKS)("$name takes texts, files, and writing in every language that is read", (task) => {
  const { input, image } = taskDefinitionSchema.parse(definitionOfDemo(task, "default"));
  expect({ input, image }).toEqual({ input: "document", image: { read: "text", languages: ["eng", "deu", "fra"] } });
});
