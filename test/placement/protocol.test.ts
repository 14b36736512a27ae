import { expect, test } from "vitest";
import { isOwnAdapter, isServable } from "../../src/placement/protocol.ts";

const SHA = "a".repeat(64);

test.each<[string, boolean]>([
  [`models/default/blobs/${SHA}`, true],
  ["models/default/versions/0123456789abcdef/manifest.json", true],
  [`tenants/acme/adapters/tone/${SHA}/adapter_config.json`, true],
  [`tenants/acme/adapters/tone/${SHA}/adapter_model.safetensors`, true],
  // What changes, what is a tenant's, and what leaves its folder.
  ["models/default/current.json", false],
  ["models/default/versions/0123456789abcdef/manifest.json/more", false],
  [`models/default/blobs/${SHA}/more`, false],
  [`models/../blobs/${SHA}`, false],
  ["tenants/acme/files/file-1", false],
  ["tenants/acme/jobs/job-1/1/adapter_model.safetensors", false],
  [`tenants/acme/adapters/tone/${SHA}/other`, false],
  [`tenants/acme/adapters/tone/${SHA}/adapter_config.json/more`, false],
  ["", false],
])("an origin may read %s: %s", (key, may) => {
  expect(isServable(key)).toBe(may);
});

test("an adapter is the tenant's in whose folder it lies", () => {
  const key = `tenants/acme/adapters/tone/${SHA}`;
  expect([isOwnAdapter(key, "acme"), isOwnAdapter(key, "acm"), isOwnAdapter(key, "")]).toEqual([true, false, false]);
});
