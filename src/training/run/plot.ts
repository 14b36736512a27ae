/** A run's losses as a picture: lines of training, points of validation. */
import { writeAtomically } from "./files.ts";

export interface Point {
  step: number;
  loss: number;
}

const WIDTH = 720;
const HEIGHT = 400;
const PLOT = { left: 64, right: WIDTH - 20, top: 40, bottom: HEIGHT - 52 };
/** Points of a line: more cannot be told apart at this width. */
const MOST_POINTS = 600;
const TICKS = 6;
/** Blue and orange, told apart by people who see fewer colours too (Okabe and Ito 2008). */
const COLORS = { training: "#0072b2", validation: "#d55e00" };

/** @throws EdgeT5Error `E_IO` */
export function writeLossPlot(
  path: string,
  series: { training: readonly Point[]; validation: readonly Point[]; steps: number },
): Promise<void> {
  return writeAtomically(path, lossPlot(series));
}

/** @param steps of the whole run: the width of the picture */
export function lossPlot({
  training,
  validation,
  steps,
}: {
  training: readonly Point[];
  validation: readonly Point[];
  steps: number;
}): string {
  const line = smoothed(training);
  const losses = [...line, ...validation].map(({ loss }) => loss).filter(Number.isFinite);
  const low = losses.length > 0 ? Math.min(...losses) : 0;
  const high = losses.length > 0 ? Math.max(...losses) : 1;
  const yTicks = ticksOf(low, high > low ? high : low + 1);
  const [least, most] = [yTicks.values[0] ?? low, yTicks.values.at(-1) ?? high];
  const x = (step: number) => PLOT.left + ((PLOT.right - PLOT.left) * step) / steps;
  const y = (loss: number) => PLOT.bottom - ((PLOT.bottom - PLOT.top) * (loss - least)) / (most - least);
  const at = ({ step, loss }: Point) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`;
  const xTicks = ticksOf(0, steps);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="sans-serif" font-size="12" fill="#333">`,
    `<title>Loss by step</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    ...yTicks.values.map((value) => {
      const place = y(value).toFixed(1);
      const label = `<text x="${PLOT.left - 8}" y="${place}" text-anchor="end" dominant-baseline="middle">${value.toFixed(yTicks.decimals)}</text>`;
      return `<line x1="${PLOT.left}" x2="${PLOT.right}" y1="${place}" y2="${place}" stroke="#ddd"/>${label}`;
    }),
    ...xTicks.values
      .filter((value) => value <= steps && Number.isInteger(value))
      .map((value) => {
        const place = x(value).toFixed(1);
        const label = `<text x="${place}" y="${PLOT.bottom + 20}" text-anchor="middle">${value.toLocaleString("en-US")}</text>`;
        return `<line x1="${place}" x2="${place}" y1="${PLOT.bottom}" y2="${PLOT.bottom + 5}" stroke="#333"/>${label}`;
      }),
    `<path d="M${PLOT.left} ${PLOT.top}V${PLOT.bottom}H${PLOT.right}" fill="none" stroke="#333"/>`,
    `<text x="${(PLOT.left + PLOT.right) / 2}" y="${HEIGHT - 12}" text-anchor="middle">step</text>`,
    `<text transform="translate(16 ${(PLOT.top + PLOT.bottom) / 2}) rotate(-90)" text-anchor="middle">loss (cross entropy a label)</text>`,
    `<polyline fill="none" stroke="${COLORS.training}" stroke-width="1.5" points="${line.map(at).join(" ")}"/>`,
    ...validation
      .filter(({ loss }) => Number.isFinite(loss))
      .map((point) => {
        const [cx, cy] = at(point).split(",");
        return `<circle cx="${cx}" cy="${cy}" r="3.5" fill="${COLORS.validation}"/>`;
      }),
    legend(validation.length > 0),
    "</svg>\n",
  ].join("\n");
}

function legend(hasValidation: boolean): string {
  const training = `<path d="M${PLOT.left + 8} 22h24" stroke="${COLORS.training}" stroke-width="2"/><text x="${PLOT.left + 40}" y="26">training, smoothed</text>`;
  if (!hasValidation) return training;
  return `${training}\n<circle cx="${PLOT.left + 190}" cy="22" r="3.5" fill="${COLORS.validation}"/><text x="${PLOT.left + 202}" y="26">validation</text>`;
}

/** Means of like many neighbours, then an exponential mean of those: few points, without the noise of single batches. */
function smoothed(points: readonly Point[]): Point[] {
  const size = Math.max(1, Math.ceil(points.length / MOST_POINTS));
  const means: Point[] = [];
  for (let first = 0; first < points.length; first += size) {
    const group = points.slice(first, first + size);
    means.push({ step: group.at(-1)!.step, loss: group.reduce((sum, { loss }) => sum + loss, 0) / group.length });
  }
  // About a fiftieth of the run counts.
  const keep = 1 - 1 / Math.max(1, means.length / 50);
  let mean = means[0]?.loss ?? 0;
  let weight = 0;
  return means.map(({ step, loss }) => {
    // As Adam's bias correction: the first points are not held to where the run began.
    mean = weight === 0 ? loss : mean + ((loss - mean) * (1 - keep)) / (1 - keep ** (weight + 1));
    weight++;
    return { step, loss: mean };
  });
}

/** Round numbers from at most `low` to at least `high`: 1, 2 or 5 times a power of ten apart. */
export function ticksOf(low: number, high: number): { values: number[]; decimals: number } {
  const rough = (high - low) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10) * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return { values: Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step), decimals };
}
