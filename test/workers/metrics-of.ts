import { Registry, renderMetrics } from "../../src/observability/metrics.ts";

/** A metric with so many label values, as text, and how many of them it has kept. */
export function registryOf(values: number, name: string): { text: string; series: number } {
  const registry = new Registry();
  const counter = registry.counter("edge_t5_odd", "A help with a \\ and\na second line", ["name"]);
  for (let i = 0; i < values; i++) counter.add([`${name}${i}`]);
  return {
    text: renderMetrics({ w: registry.snapshot() }),
    series: registry.snapshot()[0]?.samples.length ?? 0,
  };
}
