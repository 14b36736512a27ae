/** What a gateway's refusals are called in the terminal, and what is refused before one is asked. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { edgeT5 } from "./process.ts";

async function answering(status: number, body: string): Promise<string> {
  const server = createServer((_, response) => void response.writeHead(status).end(body));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const ours = (code: string) => JSON.stringify({ error: { message: "There is none.", type: "x", param: null, code } });

test.each([
  [404, ours("tenant_not_found"), "E_INPUT", "404: There is none."],
  [400, ours("invalid_value"), "E_INPUT", "400: There is none."],
  [429, ours("rate_limit_exceeded"), "E_IO", "429: There is none."],
  [503, ours("overloaded"), "E_IO", "503: There is none."],
  // Of what stands before the gateway, or at another address.
  [404, "<h1>Not found</h1>", "E_IO", "404: <h1>"],
  [404, "null", "E_IO", "404: null"],
])("%i %j is %s", async (status, body, code, words) => {
  const url = await answering(status, body);
  for (const command of [
    ["tenant", "show", "nobody", "--admin-token", "t"],
    ["file", "get", "file-0123456789abcdef01234567", "--key", "k"],
    ["usage", "--tenant", "acme", "--csv", "--admin-token", "t"],
  ]) {
    const refused = await edgeT5([...command, "--url", url]);
    expect(refused).toMatchObject({ code: 1, stdout: "" });
    expect(refused.stderr).toContain(`${code}: The gateway answers ${words}`);
    const known = /"code":"(\w+)"/.exec(body)?.[1];
    if (known) expect(refused.stderr).toContain(`(${known})`);
    const json = await edgeT5(["tenant", "show", "nobody", "--admin-token", "t", "--url", url, "--json"]);
    expect(JSON.parse(json.stderr).error.code).toBe(code);
  }
});

test("one that is not there is E_IO", async () => {
  for (const command of [
    ["tenant", "show", "nobody", "--admin-token", "t"],
    ["file", "get", "file-0123456789abcdef01234567", "--key", "k"],
  ]) {
    const { code, stderr } = await edgeT5([...command, "--url", "http://127.0.0.1:1"]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^E_IO: http:\/\/127\.0\.0\.1:1 cannot be reached/)]);
  }
});

test("a list is named as the terminal has it", async () => {
  const error = { message: 'There is no tenant "x". GET /admin/tenants lists them.', code: "tenant_not_found" };
  const url = await answering(404, JSON.stringify({ error }));
  const { stderr } = await edgeT5(["tenant", "show", "x", "--admin-token", "t", "--url", url]);
  expect(stderr).toContain('There is no tenant "x". edge-t5 tenant list lists them.');
});

test.each<[string[], RegExp]>([
  [["price", "set", "--input", "1", "--from", "2027-02-31"], /^E_USAGE: --from is "2027-02-31".*2027-01-01/],
  [["price", "set", "--input", "1", "--from", "2027-02-31T00:00:00Z"], /^E_USAGE: --from is/],
  [["price", "set", "--input", "1", "--from", "1"], /^E_USAGE: --from is/],
  [["price", "set", "--input", "1", "--from", "2028-02-29"], /^E_IO: .* cannot be reached/],
  [["key", "create", "acme", "--expires", "2027-02-31"], /^E_USAGE: --expires is "2027-02-31".*90d/],
  [["batch", "run", "rows.jsonl", "--out", "nowhere/x"], /^E_IO: nowhere\/x .* no folder nowhere. Nothing was sent/],
  [["batch", "run", "rows.jsonl", "--errors", "."], /^E_IO: \. .* is a folder. Nothing was sent/],
  [["batch", "run", "rows.jsonl", "--out", "x", "--errors", "./x"], /^E_USAGE: --out and --errors are one file/],
  [["batch", "run", "rows.jsonl", "--no-wait", "--out", "x"], /^E_USAGE: --out .* --no-wait/],
  [["batch", "run", "nofile.jsonl"], /^E_USAGE: nofile.jsonl is not there: no such file/],
  [["batch", "run", "."], /^E_USAGE: \. is a folder/],
])("%j", async (args, message) => {
  const { stderr, code } = await edgeT5([...args, "--url", "http://127.0.0.1:1"], {
    env: { EDGE_T5_KEY: "k", EDGE_T5_ADMIN_TOKEN: "t" },
  });
  expect([code, stderr]).toEqual([1, expect.stringMatching(message)]);
});
