/**
 * Child process of the bench: both libraries in Node; prints one JSON object. Run by transformers-js.ts as
 * `node transformers-js-run.ts PACKAGE MODELS PROMPT ROUNDS`.
 */
import { env, pipeline } from "@huggingface/transformers";
import { T5 } from "../../src/index.ts";
import { compareGeneration, GENERATION, type Library, NEW_TOKENS, PROMPT_TOKENS } from "./generation.ts";

const [dir = "", models = "", prompt = "", rounds = "0"] = process.argv.slice(2);
Object.assign(env, { allowRemoteModels: false, localModelPath: models });

type Answer = () => Promise<unknown>;
const loaded = new Map<Library, Answer>();

async function loadKit(): Promise<Answer> {
  const model = await T5.fromPretrained(dir);
  return async () => {
    const { ids } = await model.generate(prompt, GENERATION);
    if (ids.length !== NEW_TOKENS) throw new Error(`edge-t5 gave ${ids.length} tokens.`);
  };
}

async function loadTransformers(library: Library): Promise<Answer> {
  const generator = await pipeline("text2text-generation", library, {
    session_options: { intraOpNumThreads: 1, interOpNumThreads: 1 },
  });
  const tokens = generator.tokenizer.encode(prompt).length;
  if (tokens !== PROMPT_TOKENS) throw new Error(`transformers.js reads ${tokens} tokens.`);
  return () => generator(prompt, GENERATION as object);
}

const figures = await compareGeneration(
  {
    async load(library) {
      const started = performance.now();
      loaded.set(library, await (library === "edge_t5" ? loadKit() : loadTransformers(library)));
      return performance.now() - started;
    },
    async generate(library) {
      const started = performance.now();
      await loaded.get(library)?.();
      return performance.now() - started;
    },
  },
  Number(rounds),
);
console.log(JSON.stringify(figures));
process.exit();
