/** A program of a user of the kit: one file, whatever runs it. */
import { T5 } from "edge-t5";

export async function everywhere(source) {
  const model = await T5.fromPretrained(source, { maxInputTokens: 64, maxNewTokens: 32 });
  const [german, french] = await model.generate([
    "translate English to German: The house is old.",
    "translate English to French: I am hungry.",
  ]);
  const pieces = [];
  for await (const piece of model.stream("translate English to German: The house is old.")) pieces.push(piece);
  const { label, scores } = await model.classify("classify package: a library for sockets", ["games", "libs", "net"]);
  const beams = await model.generate("translate English to German: The house is old.", { num_beams: 4, stop: " alt" });
  return {
    texts: [german.text, french.text],
    streamed: pieces.join(""),
    pieces: pieces.length,
    label,
    sum: Math.round(scores.reduce((sum, { score }) => sum + score, 0) * 1e6) / 1e6,
    stopped: beams.text,
    tokens: model.tokenizer.encode("Hello"),
  };
}
