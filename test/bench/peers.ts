/**
 * The kit's engine beside onnxruntime on the same shards: T5-small's shape at int8, one thread, in Node (onnxruntime-web and
 * onnxruntime-node) and in workerd (onnxruntime-web).
 *
 * `npm run bench:peers [-- --json] [--rounds N] [--skip-workerd]`
 *
 * In a round every peer does everything once, and rounds begin with another peer each; a step is compared by the fastest of
 * each peer (in workerd, whose clock stands still, the fastest {@link PEER_STEPS} of a request), an encoding by the median
 * of the rounds' own ratios.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { splitCheckpoint } from "../../model-split/index.ts";
import { formatTable } from "../../src/cli/output.ts";
import { seedR2 } from "../../src/local/seed-r2.ts";
import { writeRandomCheckpoint } from "./checkpoint.ts";
import { median } from "./measure.ts";
import { PEER_OPERATIONS, PEER_STEPS, type PeerOperation } from "./peer-subject.ts";
import { get, type RunningWorker, startWorker } from "./workerd-run.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** `simd` is the kit's; the others run the graphs of the same package. */
export type PeerName = "simd" | "ort_web" | "ort_native";

/** Milliseconds that a peer takes for an operation, seen from outside. */
export type PeerTimer = (operation: PeerOperation) => Promise<number>;

/** Figures by key: `step_over_ort_web_node`, `ort_web_step_ms_node`. */
export type PeerFigures = Record<string, number>;

const ENCODINGS = ["encode128", "encode512"] as const;

/** Compares peers that take turns; keys without the suffix of where they ran. */
export async function comparePeers(
  timers: Partial<Record<PeerName, PeerTimer>>,
  rounds: number,
  onRound: (round: number) => void = () => {},
): Promise<PeerFigures> {
  const peers = Object.entries(timers) as [PeerName, PeerTimer][];
  const series = Object.fromEntries(
    peers.map(([peer]) => [peer, Object.fromEntries(PEER_OPERATIONS.map((operation) => [operation, []]))]),
  ) as unknown as Record<PeerName, Record<PeerOperation, number[]>>;
  // Two rounds to warm up: compilers and caches.
  for (let round = -2; round < rounds; round++) {
    onRound(round);
    for (const operation of PEER_OPERATIONS) {
      for (let turn = 0; turn < peers.length; turn++) {
        const [peer, time] = peers[(round + 2 + turn) % peers.length] as [PeerName, PeerTimer];
        const ms = await time(operation);
        if (round >= 0) series[peer][operation].push(ms);
      }
    }
  }
  // What asking takes is never more than its fastest: a figure may be too large by it, not too small.
  const net = (peer: PeerName, operation: PeerOperation) =>
    series[peer][operation].map((ms) => ms - Math.min(...series[peer].nothing));
  const step = (peer: PeerName) => Math.min(...net(peer, "steps")) / PEER_STEPS;
  const figures: PeerFigures = {};
  for (const [peer] of peers) {
    figures[`${peer}_step_ms`] = step(peer);
    for (const encoding of ENCODINGS) figures[`${peer}_${encoding}_ms`] = median(net(peer, encoding));
    if (peer === "simd") continue;
    figures[`step_over_${peer}`] = step("simd") / step(peer);
    for (const encoding of ENCODINGS) {
      const others = net(peer, encoding);
      const ratios = net("simd", encoding).map((ms, round) => ms / (others[round] as number));
      figures[`${encoding}_over_${peer}`] = median(ratios);
    }
  }
  return figures;
}

/** In a process of its own. @param dir the package's folder */
export async function measurePeersInNode(dir: string, rounds: number): Promise<PeerFigures> {
  const script = fileURLToPath(new URL("./peers-node-run.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [script, dir, String(rounds)]);
  return suffixed(JSON.parse(stdout) as PeerFigures, "node");
}

/**
 * Each engine in a `wrangler dev` of its own, timed over HTTP in turn.
 *
 * @param state folder for the local R2's state
 */
export async function measurePeersInWorkerd(dir: string, state: string, rounds: number): Promise<PeerFigures> {
  const configs: [PeerName, string][] = [
    ["simd", "./workerd/peer-simd.wrangler.toml"],
    ["ort_web", "./workerd/peer-onnx.wrangler.toml"],
  ];
  const running: RunningWorker[] = [];
  try {
    const timers: Partial<Record<PeerName, PeerTimer>> = {};
    for (const [peer, path] of configs) {
      const config = fileURLToPath(new URL(path, import.meta.url));
      const own = join(state, peer);
      await seedR2(dir, ROOT, own);
      const worker = await startWorker(config, own);
      running.push(worker);
      await get(`${worker.url}/load`);
      timers[peer] = async (operation) => {
        const from = performance.now();
        await get(`${worker.url}/run?operation=${operation}`);
        return performance.now() - from;
      };
    }
    return suffixed(await comparePeers(timers, rounds), "workerd");
  } finally {
    for (const worker of running) await worker.stop();
  }
}

/** Rows of the table: the key without where it ran, what it is, digits after the point, and its target. */
export const PEER_ROWS: readonly [key: string, what: string, digits: number, target: number | null][] = [
  ["simd_step_ms", "token step (prompt 128, position 32), ms", 3, null],
  ["ort_web_step_ms", "  on onnxruntime-web", 3, null],
  ["ort_native_step_ms", "  on onnxruntime-node", 3, null],
  ["step_over_ort_web", "step ÷ onnxruntime-web's", 3, 0.2],
  ["step_over_ort_native", "step ÷ onnxruntime-node's", 3, 1],
  ["simd_encode128_ms", "encode(128), ms", 1, null],
  ["ort_web_encode128_ms", "  on onnxruntime-web", 1, null],
  ["ort_native_encode128_ms", "  on onnxruntime-node", 1, null],
  ["encode128_over_ort_web", "encode(128) ÷ onnxruntime-web's", 3, 0.45],
  ["encode128_over_ort_native", "encode(128) ÷ onnxruntime-node's", 3, null],
  ["simd_encode512_ms", "encode(512), ms", 1, null],
  ["ort_web_encode512_ms", "  on onnxruntime-web", 1, null],
  ["ort_native_encode512_ms", "  on onnxruntime-node", 1, null],
  ["encode512_over_ort_web", "encode(512) ÷ onnxruntime-web's", 3, 0.45],
  ["encode512_over_ort_native", "encode(512) ÷ onnxruntime-node's", 3, null],
];

export function peerTable(figures: PeerFigures): string {
  const places = ["node", "workerd"].filter((place) => `simd_step_ms_${place}` in figures);
  return formatTable(
    ["", ...places.map((place) => place.toUpperCase()), "TARGET"],
    PEER_ROWS.map(([key, what, digits, target]) => [
      what,
      ...places.map((place) => figures[`${key}_${place}`]?.toFixed(digits) ?? ""),
      target === null ? "" : `≤ ${target}`,
    ]),
  );
}

export function suffixed(figures: PeerFigures, place: string): PeerFigures {
  return Object.fromEntries(
    Object.entries(figures).map(([key, value]) => [`${key}_${place}`, Number(value.toPrecision(5))]),
  );
}

if (import.meta.main) {
  const { values: options } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string", default: "15" },
      "skip-workerd": { type: "boolean", default: false },
    },
  });
  const rounds = Number(options.rounds);
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const work = await mkdtemp(join(tmpdir(), "edge-t5-peers-"));
  try {
    say("making a checkpoint of T5-small's shape with random weights (seed 1), and splitting it at int8");
    await writeRandomCheckpoint(join(work, "checkpoint"));
    await splitCheckpoint(join(work, "checkpoint"), join(work, "package"), { name: "bench" });
    say(`measuring in Node: ${rounds} rounds`);
    const figures = await measurePeersInNode(join(work, "package"), rounds);
    if (!options["skip-workerd"]) {
      say(`measuring in workerd: ${rounds} rounds`);
      Object.assign(figures, await measurePeersInWorkerd(join(work, "package"), join(work, "state"), rounds));
    }
    console.log(peerTable(figures));
    if (options.json) console.log(JSON.stringify({ figures, rounds }));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
