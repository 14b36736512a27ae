/** A run in a process of its own, to be killed: `child.ts OPTIONS`, JSON of what differs from the toy's options. */
import { train } from "../../src/training/trainer.ts";
import { toyOptions } from "./toy.ts";

const { run, ...more } = JSON.parse(process.argv[2] ?? "{}");
for await (const event of train(toyOptions(run, { ...more, resume: true }))) {
  if (event.type === "step" || event.type === "checkpoint") console.log(`${event.type} ${event.step}`);
}
