/**
 * Counters, gauges and histograms in Prometheus's text format, 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Its usual client for JavaScript, prom-client, needs
 * Node's `cluster` and `v8`, which a Worker lacks.
 *
 * Values are those of one isolate since it started.
 */

export type Labels = Readonly<Record<string, string>>;

export interface Buckets {
  /** Observations at or below each bound, in the bounds' order; those above the last bound are in `count` alone. */
  counts: number[];
  sum: number;
  count: number;
}

export interface Sample {
  labels: Labels;
  value: number | Buckets;
}

/** One metric as it travels between Workers, as JSON. */
export interface Family {
  name: string;
  help: string;
  type: "counter" | "gauge" | "histogram";
  /** Of a histogram: its buckets' upper bounds, ascending. */
  bounds?: readonly number[];
  samples: Sample[];
}

/**
 * Most label sets of one metric. Labels are patterns of routes, codes and names of our own, far fewer than this; beyond it
 * new ones are not counted, so that no mistake fills an isolate's memory.
 */
const MOST_SERIES = 2_000;

/** Seconds; from a cached answer to a long generation. */
export const DURATIONS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

class Series<Value> {
  readonly #samples = new Map<string, { labels: Labels; value: Value }>();
  readonly #names: readonly string[];

  constructor(names: readonly string[]) {
    this.#names = names;
  }

  change(values: readonly string[], create: () => Value, change: (value: Value) => Value): void {
    const key = values.join("\n");
    const sample = this.#samples.get(key);
    if (sample) sample.value = change(sample.value);
    else if (this.#samples.size < MOST_SERIES) {
      const labels = Object.fromEntries(this.#names.map((name, i) => [name, values[i] ?? ""]));
      this.#samples.set(key, { labels, value: change(create()) });
    }
  }

  get samples(): { labels: Labels; value: Value }[] {
    return [...this.#samples.values()];
  }
}

export interface Counter {
  /** @param values of the labels, in the order in which they were named */
  add(values: readonly string[], by?: number): void;
}

export interface Histogram {
  observe(values: readonly string[], value: number): void;
}

/** One Worker's metrics. */
export class Registry {
  readonly #families: (() => Family)[] = [];

  counter(name: string, help: string, labels: readonly string[]): Counter {
    const series = new Series<number>(labels);
    this.#families.push(() => ({ name, help, type: "counter", samples: series.samples }));
    return {
      add: (values, by = 1) =>
        series.change(
          values,
          () => 0,
          (value) => value + by,
        ),
    };
  }

  /** @param bounds ascending, the infinite one left out */
  histogram(name: string, help: string, labels: readonly string[], bounds: readonly number[]): Histogram {
    const series = new Series<Buckets>(labels);
    this.#families.push(() => ({
      ...{ name, help, type: "histogram", bounds },
      samples: series.samples.map(({ labels, value }) => ({ labels, value: { ...value, counts: [...value.counts] } })),
    }));
    return {
      observe: (values, observed) =>
        series.change(
          values,
          () => ({ counts: bounds.map(() => 0), sum: 0, count: 0 }),
          ({ counts, sum, count }) => {
            for (const [i, bound] of bounds.entries()) if (observed <= bound) counts[i] = (counts[i] ?? 0) + 1;
            return { counts, sum: sum + observed, count: count + 1 };
          },
        ),
    };
  }

  /** What is counted elsewhere, read when it is asked for. */
  read(type: "counter" | "gauge", name: string, help: string, samples: () => Sample[]): void {
    this.#families.push(() => ({ name, help, type, samples: samples() }));
  }

  snapshot(): Family[] {
    return this.#families.map((family) => family());
  }
}

/** What a Worker tells of itself and of Workers behind it. */
export type WorkerMetrics = Readonly<Record<string, Family[]>>;

/** Several Workers' metrics as one text; each sample says whose it is by the label `worker`. */
export function renderMetrics(workers: WorkerMetrics): string {
  const merged = new Map<string, Family>();
  for (const [worker, families] of Object.entries(workers)) {
    for (const { samples, ...family } of families) {
      const known = merged.get(family.name) ?? { ...family, samples: [] };
      merged.set(family.name, known);
      known.samples.push(...samples.map(({ labels, value }) => ({ labels: { worker, ...labels }, value })));
    }
  }
  return [...merged.values()].map(renderFamily).join("");
}

function renderFamily({ name, help, type, bounds = [], samples }: Family): string {
  const text = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  const lines = samples.flatMap(({ labels, value }) => {
    if (typeof value === "number") return [line(name, labels, value)];
    const buckets = bounds.map((bound, i) =>
      line(`${name}_bucket`, { ...labels, le: String(bound) }, value.counts[i] ?? 0),
    );
    return [
      ...buckets,
      line(`${name}_bucket`, { ...labels, le: "+Inf" }, value.count),
      line(`${name}_sum`, labels, value.sum),
      line(`${name}_count`, labels, value.count),
    ];
  });
  return [`# HELP ${name} ${text}`, `# TYPE ${name} ${type}`, ...lines, ""].join("\n");
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}{${pairs.join(",")}} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
