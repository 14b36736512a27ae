/** `POST /models/:name` in Hugging Face's shape, and below it the completions that its client asks for text generation. */

import type { Context } from "hono";
import { collect } from "../../src/api/answers.ts";
import { fieldsOf, parseInference, textKeyOf } from "../../src/api/hugging-face.ts";
import type { GatewayEnv } from "./bindings.ts";
import { readJson } from "./body.ts";
import { inputsOf, planTexts } from "./perform-texts.ts";
import { performWindows } from "./perform-windows.ts";
import { findTarget } from "./target.ts";

export async function huggingFace(c: Context<GatewayEnv>): Promise<Response> {
  const { inputs: given, parameters } = parseInference(await readJson(c.req.raw));
  const target = await findTarget(c, c.req.param("name") ?? "");
  const { task } = target;
  const inputs = inputsOf(target, given, "inputs");
  const labels = task?.definition.labels;
  if (labels) {
    const { top_k, ...others } = parameters ?? {};
    const { results } = await performWindows(c, target, labels, inputs, "inputs", fieldsOf(others));
    return c.json(
      results.map(({ scores }) =>
        scores.slice(0, top_k || scores.length).map(({ label, score }) => ({ label, score })),
      ),
    );
  }
  const fields = fieldsOf(parameters ?? {});
  const { generation, pieces } = await planTexts(c, target, inputs, "inputs", fields).begin();
  const choices = await collect(pieces, inputs.length, generation);
  const perInput = choices.length / inputs.length;
  return c.json(choices.map(({ text }, i) => ({ [textKeyOf(inputs[Math.floor(i / perInput)]?.prompt ?? "")]: text })));
}
