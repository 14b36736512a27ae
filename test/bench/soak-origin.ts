/**
 * `npm run soak:origin [-- --rounds 30 --rows 1200 --seed N]`: a batch whose origin is killed (`kill -9`) at random moments
 * and started again each time, beside one that is let be. Same bytes, same ledger, or it fails.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Kit } from "../edge/kit.ts";
import { batchRows, kill9Rounds, originSecret, randomOf } from "../edge/origin-process.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string" }, rows: { type: "string" }, seed: { type: "string" } },
});
const rounds = Number(values.rounds ?? 30);
const rows = Number(values.rows ?? 60 * rounds);
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9));
console.log(`${rounds} kills, ${rows} rows, --seed ${seed}`);

const dir = await mkdtemp(join(tmpdir(), "edge-t5-soak-"));
const state = join(dir, "state");
const kit = await Kit.start(state);
try {
  const began = performance.now();
  const { calm, disturbed, kills } = await kill9Rounds({
    ...{ kit, rounds, random: randomOf(seed), rows: batchRows(rows), secret: await originSecret(state) },
    onKill: (kill, done, total) => console.log(`kill ${kill}: ${done} of ${total} rows were kept`),
  });
  const same = {
    "output bytes": calm.output === disturbed.output,
    "error bytes": calm.error === disturbed.error,
    ledger: JSON.stringify(calm.ledger) === JSON.stringify(disturbed.ledger),
    counts: JSON.stringify(calm.batch.request_counts) === JSON.stringify(disturbed.batch.request_counts),
  };
  const seconds = Math.round((performance.now() - began) / 1000);
  const { output, error, ledger } = disturbed;
  console.log(
    `${kills} kills in ${seconds} s; ${output.length} bytes of answers, ${error.length} of errors, ${ledger.length} events in the ledger`,
  );
  for (const [what, isSame] of Object.entries(same)) console.log(`${what}: ${isSame ? "the same" : "DIFFERENT"}`);
  if (kills < rounds) console.log("The batch was done before the last kill: give more --rows.");
  process.exitCode = kills === rounds && Object.values(same).every(Boolean) ? 0 : 1;
} finally {
  await kit.stop();
  await rm(dir, { recursive: true, force: true });
}
