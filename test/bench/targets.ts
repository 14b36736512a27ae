/** What the figures of `npm run bench` are aimed at. */
import { formatTable } from "../../src/cli/output.ts";

export interface Target {
  /** Without where it ran. */
  key: string;
  what: string;
  /** Where it is measured; none for a figure that belongs to no runtime. */
  places: readonly ("node" | "workerd")[];
  most?: number;
  least?: number;
  digits: number;
}

const BOTH = ["node", "workerd"] as const;

export const TARGETS: readonly Target[] = [
  { key: "step_over_floor", what: "token step ÷ memory-read floor", places: BOTH, most: 1.15, digits: 2 },
  { key: "step_over_ort_web", what: "token step ÷ onnxruntime-web's", places: BOTH, most: 0.2, digits: 3 },
  { key: "step_over_ort_native", what: "token step ÷ onnxruntime-node's", places: ["node"], most: 1, digits: 2 },
  { key: "encode_over_floor", what: "encode(128) ÷ int8-dot floor", places: BOTH, most: 1.35, digits: 2 },
  { key: "encode128_over_ort_web", what: "encode(128) ÷ onnxruntime-web's", places: BOTH, most: 0.45, digits: 2 },
  { key: "encode512_over_ort_web", what: "encode(512) ÷ onnxruntime-web's", places: BOTH, most: 0.45, digits: 2 },
  { key: "streams4_of_ceiling", what: "4 streams, of their ceiling", places: BOTH, least: 0.7, digits: 2 },
  { key: "streams8_of_ceiling", what: "8 streams, of their ceiling", places: BOTH, least: 0.7, digits: 2 },
  { key: "streams16_of_ceiling", what: "16 streams, of their ceiling", places: BOTH, least: 0.7, digits: 2 },
  { key: "flood_over_quiet", what: "latency beside another's flood ÷ alone", places: [], most: 2, digits: 2 },
  { key: "beams4_over_1", what: "four beams ÷ one, ÷ digits", places: BOTH, most: 1.8, digits: 2 },
  { key: "peak_mb", what: "peak of WASM memory and JS heap, MB", places: BOTH, most: 112, digits: 1 },
  { key: "first_token_ms", what: "weights at hand → first token, ms", places: BOTH, most: 150, digits: 0 },
  { key: "gateway_gzip_kb", what: "gateway's bundle, kB gzip", places: [], most: 300, digits: 0 },
  { key: "encoder_gzip_kb", what: "encoder's bundle, kB gzip", places: [], most: 150, digits: 0 },
  { key: "decoder_gzip_kb", what: "decoder's bundle, kB gzip", places: [], most: 150, digits: 0 },
  { key: "tokens_per_pass", what: "tokens a weight pass, summaries", places: [], least: 1.5, digits: 2 },
];

/** Figures beside what they are aimed at, those that were measured. */
export function targetTable(figures: Readonly<Record<string, number>>): string {
  const rows = TARGETS.flatMap(({ key, what, places, most, least, digits }) => {
    const keys = places.length > 0 ? places.map((place) => `${key}_${place}`) : [key];
    const values = keys.map((name) => figures[name]);
    if (values.every((value) => value === undefined)) return [];
    const isMet = values.every(
      (value) => value === undefined || (value <= (most ?? value) && value >= (least ?? value)),
    );
    const shown = ["node", "workerd"].map((place) => {
      const value = figures[`${key}_${place}`] ?? (places.length === 0 && place === "node" ? figures[key] : undefined);
      return value === undefined ? "" : value.toFixed(digits).padStart(7);
    });
    return [[what, ...shown, most === undefined ? `≥ ${least}` : `≤ ${most}`, isMet ? "" : "missed"]];
  });
  return formatTable(["", "NODE", "WORKERD", "TARGET", ""], rows);
}
