/** `model.safetensors.index.json`: which part of a checkpoint in several files holds which tensor. */
import { basename } from "node:path";
import * as z from "zod";
import { EdgeT5Error } from "../src/errors.ts";

export const WEIGHTS = "model.safetensors";
export const WEIGHTS_INDEX = `${WEIGHTS}.index.json`;

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/**
 * @param path for messages
 * @returns each tensor's part, the name of a file beside the index
 * @throws EdgeT5Error `E_SAFETENSORS`
 */
export function parseIndex(text: string, path: string): Record<string, string> {
  const weightMap = parseWeightMap(text, path);
  for (const [name, part] of Object.entries(weightMap)) {
    // A part lies beside its index: a name that leads elsewhere is not one.
    if (part !== basename(part) || part.includes("\\") || /^\.{0,2}$/.test(part)) {
      throw new EdgeT5Error(
        "E_SAFETENSORS",
        `${path}: tensor ${name} lies in ${JSON.stringify(part)}, not a file name.`,
      );
    }
  }
  return weightMap;
}

function parseWeightMap(text: string, path: string): Record<string, string> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new EdgeT5Error("E_SAFETENSORS", `${path} is not JSON. Download it again, or export the checkpoint again.`, {
      cause,
    });
  }
  const parsed = indexSchema.safeParse(json);
  if (parsed.success) return parsed.data.weight_map;
  const issue = parsed.error.issues[0];
  throw new EdgeT5Error(
    "E_SAFETENSORS",
    `${path}: ${issue?.path.join(".") || "(root)"}: ${issue?.message}. Download it again.`,
  );
}
