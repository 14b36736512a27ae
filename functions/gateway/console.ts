/**
 * `GET /`: the page to try tasks on, and `GET /console.js`: its script, built from functions/console. It asks no other
 * host for anything, and only its own script runs in it.
 */
import type { Context } from "hono";
import { html, raw } from "hono/html";
import { SCRIPT } from "../console/build/script.ts";
import type { GatewayEnv } from "./bindings.ts";
import { CONSOLE_STYLE } from "./console-style.ts";
import { pageHeaders, sha256 } from "./page.ts";

const CACHE = "public, max-age=300";

/** What a page may do that shows what others wrote: nothing that it says becomes a program. */
const ALLOWED = ["script-src 'self'", "connect-src 'self'", "require-trusted-types-for 'script'"];

export async function showConsole(c: Context<GatewayEnv>): Promise<Response> {
  const headers = await pageHeaders(CONSOLE_STYLE, ALLOWED);
  // A page and the script that it was made with: kept ones of two versions do not meet.
  const [a = 0, b = 0, d = 0] = await sha256(SCRIPT);
  const version = ((a << 16) | (b << 8) | d).toString(16);
  return c.html(await page(`/console.js?v=${version}`), 200, { ...headers, "cache-control": CACHE });
}

export function showScript(c: Context<GatewayEnv>): Response {
  return c.body(SCRIPT, 200, {
    "content-type": "text/javascript; charset=utf-8",
    "x-content-type-options": "nosniff",
    "cache-control": CACHE,
  });
}

const MARK = `<svg viewBox="0 0 32 32" width="36" height="36" aria-hidden="true" focusable="false"><rect width="32" height="32" rx="8" fill="#0b57d0"/><path d="M7 10h18M16 10v14" fill="none" stroke="#fff" stroke-width="3.4" stroke-linecap="round"/><circle cx="24.5" cy="22.5" r="2.2" fill="#8ab4f8"/></svg>`;

const ICON = `data:image/svg+xml,${encodeURIComponent(MARK.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"'))}`;

/** By their ids: `figure-input` and so on. */
const FIGURES: Readonly<Record<string, string>> = {
  input: "Input tokens",
  output: "Output tokens",
  rate: "Tokens a second",
  first: "First piece after",
  whole: "Whole after",
  cost: "Price",
  served: "Served by",
  model: "Model version",
  request: "Request",
};

const SAMPLES: Readonly<Record<string, string>> = { curl: "curl", typescript: "TypeScript", openai: "OpenAI’s client" };

function page(script: string) {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>edge-t5: try a task</title>
<link rel="icon" href="${ICON}">
<style>${raw(CONSOLE_STYLE)}</style>
<script type="module" src="${script}"></script>
</head>
<body>
<a class="skip" href="#task">To the task</a>
<header>
${raw(MARK)}
<h1>edge-t5</h1>
<p>T5 at the edge</p>
<nav aria-label="API"><a href="/docs">API reference</a> <a href="/openapi.json">OpenAPI</a></nav>
</header>
<main>
<noscript><p class="card">This page needs JavaScript. The API does not: see its <a href="/docs">reference</a>.</p></noscript>
<form id="key-form" class="card" aria-label="API key">
<label for="key">API key</label>
<div class="row">
<input id="key" type="password" required autocomplete="off" autocapitalize="off" spellcheck="false" placeholder="et5_…" aria-describedby="key-note">
<button id="key-show" type="button" class="button" aria-pressed="false">Show</button>
<button type="submit" class="button">Use</button>
</div>
<p id="key-note" class="note" role="status">npm start prints one, and a link to this page that has it.</p>
</form>
<form id="run-form" class="card" aria-label="Run a task">
<label for="task">Task</label>
<select id="task" disabled></select>
<p id="task-about" class="about"></p>
<div id="inputs"><div class="field"><span class="label">Text</span><div class="empty">Give a key to see its tasks.</div><div class="row"></div></div></div>
<details id="options" hidden><summary>Options</summary><div id="option-fields"></div></details>
<div class="row">
<label class="check"><input id="stream" type="checkbox" checked> Stream</label>
<label class="check"><input id="explain" type="checkbox"> Explain what the model is given</label>
</div>
<div class="row actions">
<button id="run" type="submit" class="button primary" disabled>Run</button>
<button id="stop" type="button" class="button" disabled>Stop</button>
<span class="note hint"><kbd>Ctrl</kbd> <kbd>Enter</kbd> runs, <kbd>Esc</kbd> stops</span>
</div>
</form>
<section id="result" class="card" aria-labelledby="answer-title">
<div class="row head">
<h2 id="answer-title">Answer</h2>
<p id="status" class="note" role="status"></p>
<progress id="progress" aria-label="Parts of the text that were read" hidden></progress>
<button id="answer-copy" type="button" class="button small" disabled>Copy</button>
</div>
<div id="answer" tabindex="0" role="group" aria-labelledby="answer-title">
<div id="answer-text" aria-live="polite" aria-busy="false"></div>
<div id="answer-scores"></div>
<ul id="answer-notes" class="note" aria-live="polite" aria-label="Notes"></ul>
</div>
<dl id="figures">${Object.entries(FIGURES).map(([name, label]) => html`<div id="figure-${name}"${name === "cost" ? raw(" hidden") : ""}><dt>${label}</dt><dd>–</dd></div>`)}</dl>
<details id="explained" hidden><summary>What the model was given</summary><ol id="explained-inputs"></ol><p id="explained-total" class="note"></p></details>
</section>
<section id="code" class="card" aria-labelledby="code-title">
<form id="samples">
<div class="row head">
<h2 id="code-title">The same call</h2>
<fieldset><legend class="unseen">Shown in</legend>${Object.entries(SAMPLES).map(([name, label], i) => html`<label class="tab"><input id="sample-${name}" class="unseen" type="radio" name="sample" value="${name}"${i === 0 ? raw(" checked") : ""}>${label}</label>`)}</fieldset>
<button id="sample-copy" type="button" class="button small">Copy</button>
</div>
</form>
<pre tabindex="0" role="group" aria-labelledby="code-title"><code id="sample"></code></pre>
</section>
</main>
</body>
</html>`;
}
