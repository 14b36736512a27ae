/** `GET /openapi.json`, and `GET /docs`: the same to read. The page has no script, and loads nothing. */
import type { Context } from "hono";
import { html, raw } from "hono/html";
import {
  type Content,
  type DocumentedAnswer,
  type DocumentedOperation,
  type OpenApiDocument,
  openApiDocument,
} from "../../src/api/openapi/document.ts";
import type { GatewayEnv } from "./bindings.ts";
import { BASE_STYLE, pageHeaders } from "./page.ts";

const CACHE = "public, max-age=300";

export function showDocument(c: Context<GatewayEnv>): Response {
  return c.json(openApiDocument(), 200, { "cache-control": CACHE });
}

export async function showReference(c: Context<GatewayEnv>): Promise<Response> {
  const headers = await pageHeaders(STYLE);
  return c.html(await page(openApiDocument()), 200, { ...headers, "cache-control": CACHE });
}

interface Listed {
  path: string;
  method: string;
  operation: DocumentedOperation;
}

function page({ info, tags, paths, components }: OpenApiDocument) {
  const all = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): Listed => ({ path, method, operation })),
  );
  const ofTag = (tag: string) => all.filter(({ operation }) => operation.tags.includes(tag));
  const schemas = Object.entries(components.schemas);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${info.title}: API reference</title>
<link rel="icon" href="data:,">
<style>${STYLE_ELEMENT}</style>
</head>
<body>
<a class="skip" href="#main">To the routes</a>
<header><h1>${info.title} API</h1><p>${info.description} <a href="/openapi.json">openapi.json</a></p></header>
<nav aria-label="Routes"><ul>${tags.map(({ name }) => html`<li><a href="#${slug(name)}">${name}</a></li>`)}<li><a href="#schemas">Schemas</a></li></ul></nav>
<main id="main">
${tags.map(({ name }) => html`<section aria-labelledby="${slug(name)}"><h2 id="${slug(name)}">${name}</h2>${ofTag(name).map(operationOf)}</section>`)}
<section aria-labelledby="schemas"><h2 id="schemas">Schemas</h2>
${schemas.map(([name, schema]) => html`<details id="schema-${name}"><summary><code>${name}</code></summary>${code(schema)}</details>`)}
</section>
</main>
</body>
</html>`;
}

function operationOf({ path, method, operation }: Listed) {
  const { operationId, summary, description, security, parameters, requestBody, responses } = operation;
  const who = security.flatMap((one) => Object.keys(one)).join(" or ") || "anybody";
  return html`<details id="${operationId}"><summary><span class="method ${method}">${method.toUpperCase()}</span> <code>${path}</code> <span class="what">${summary}</span></summary>
<p>For: ${who}. ${description ?? ""}</p>
${parameters.length > 0 ? html`<h3>Parameters</h3><div class="wide" tabindex="0" role="region" aria-label="Parameters"><table><tr><th scope="col">Name</th><th scope="col">In</th><th scope="col">What it is</th></tr>${parameters.map(({ name, in: place, required, description, schema }) => html`<tr><td><code>${name}</code>${required ? " (required)" : ""}</td><td>${place}</td><td>${description ?? JSON.stringify(schema)}</td></tr>`)}</table></div>` : ""}
${requestBody ? html`<h3>Body${requestBody.required ? "" : " (may be left out)"}</h3>${contents(requestBody.content)}` : ""}
<h3>Answers</h3><dl>${Object.entries(responses).map(([status, response]) => html`<dt>${status}</dt><dd>${answerOf(response)}</dd>`)}</dl>
</details>`;
}

function answerOf(response: DocumentedAnswer | { $ref: string }) {
  if ("$ref" in response) return "Any other error, in the same shape";
  return html`${response.description} ${contents(response.content ?? {})}`;
}

function contents(content: Record<string, Content>) {
  return Object.entries(content).map(([type, { schema, example }]) => {
    const name = typeof schema?.$ref === "string" ? schema.$ref.split("/").at(-1) : undefined;
    const shape = name ? html` <a href="#schema-${name}">${name}</a>` : schema ? code(schema) : "";
    return html`<div><code>${type}</code>${shape}${example === undefined ? "" : code(example)}</div>`;
  });
}

function code(value: unknown) {
  return html`<pre tabindex="0"><code>${JSON.stringify(value, null, 2)}</code></pre>`;
}

function slug(name: string): string {
  return name.toLowerCase().replaceAll(/\W+/g, "-");
}

const STYLE = `${BASE_STYLE}
a:focus-visible,summary:focus-visible,pre:focus-visible,.wide:focus-visible{outline:3px solid var(--link);outline-offset:2px}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;list-style:none;padding:0}
nav a{display:inline-block;padding:.4rem 0}
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:0 .75rem}
summary{cursor:pointer;padding:.6rem 0}
.method{display:inline-block;min-width:4.2rem;font:700 .8rem/1.4 ui-monospace,monospace}
.what{display:block;opacity:.85}
pre,.wide{overflow-x:auto;background:var(--soft);border-radius:.3rem;padding:.6rem;max-width:100%}
table{border-collapse:collapse}th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0}
dt{font-weight:700}dd{margin:0 0 .5rem 1rem}
`;

const STYLE_ELEMENT = raw(STYLE);
