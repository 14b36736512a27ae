/** The page at `/`: a key, a task, what it is given, and its answer. The gateway has its HTML (functions/gateway/console.ts). */
import { AnswerView } from "./answer.ts";
import { CallError, listTasks, runTask, type Task } from "./api.ts";
import type { Call } from "./call.ts";
import { byId, copy, make } from "./dom.ts";
import { EXAMPLES } from "./examples.ts";
import { InputForm } from "./input.ts";
import { keepKey, keptKey, takeFragment } from "./key.ts";
import { OptionsForm } from "./options.ts";
import { Samples } from "./samples.ts";

const keyForm = byId("key-form", HTMLFormElement);
const keyField = byId("key", HTMLInputElement);
const keyShow = byId("key-show", HTMLButtonElement);
const keyNote = byId("key-note", HTMLParagraphElement);
const form = byId("run-form", HTMLFormElement);
const taskSelect = byId("task", HTMLSelectElement);
const taskAbout = byId("task-about", HTMLParagraphElement);
const isStreamed = byId("stream", HTMLInputElement);
const isExplained = byId("explain", HTMLInputElement);
const runButton = byId("run", HTMLButtonElement);
const stopButton = byId("stop", HTMLButtonElement);

const answer = new AnswerView();
const samples = new Samples();
const options = new OptionsForm();
const input = new InputForm(() => showSamples());

let tasks: readonly Task[] = [];
let listing: AbortController | null = null;
let running: AbortController | null = null;

/** Lists the key's tasks, and shows one. */
async function open(key: string, wished: string | null = null): Promise<void> {
  listing?.abort();
  const controller = new AbortController();
  listing = controller;
  setTasks([]);
  tellOfKey("Asking for the key’s tasks…");
  try {
    const found = await listTasks(location.origin, key, controller.signal);
    if (controller.signal.aborted) return;
    keepKey(key);
    setTasks(found, wished);
    tellOfKey(found.length === 0 ? NO_TASKS : `${counted(found.length)}. The key stays in this tab.`);
  } catch (error) {
    if (controller.signal.aborted) return;
    const isRefused = error instanceof CallError && error.code === "invalid_api_key";
    tellOfKey(isRefused ? "This key opens nothing. Copy it whole: it begins with et5_." : messageOf(error), true);
  }
}

const NO_TASKS = "The key works, and its tenant has no task yet: npx edge-t5 task put, or PUT /v1/tasks/NAME.";

function counted(count: number): string {
  return count === 1 ? "One task" : `${count} tasks`;
}

function tellOfKey(text: string, isError = false): void {
  keyNote.textContent = text;
  keyNote.classList.toggle("error", isError);
  keyField.setAttribute("aria-invalid", String(isError));
}

function messageOf(error: unknown): string {
  if (!(error instanceof CallError)) return String(error);
  const { message, code, requestId } = error;
  return `${message} (${code}${requestId === null ? "" : `, request ${requestId}`})`;
}

function setTasks(found: readonly Task[], wished: string | null = null): void {
  tasks = found;
  taskSelect.replaceChildren(...found.map(({ id }) => make("option", { value: id }, id)));
  taskSelect.disabled = runButton.disabled = found.length === 0;
  if (found.some(({ id }) => id === wished)) taskSelect.value = wished ?? "";
  showTask();
}

function chosen(): Task | undefined {
  return tasks.find(({ id }) => id === taskSelect.value);
}

function showTask(): void {
  const task = chosen();
  taskAbout.replaceChildren();
  if (!task) return;
  const { definition, version } = task;
  const { labels, model, adapter, template } = definition;
  const badges = [
    `${definition.input} → ${labels ? `one of ${labels.length} labels` : "text"}`,
    `${model}${adapter === null ? "" : ` with ${adapter}`}`,
    `version ${version}`,
  ];
  taskAbout.append(...badges.map((badge) => make("span", { className: "badge" }, badge)), make("code", {}, template));
  input.show(task, EXAMPLES[template] ?? null);
  options.show(task);
  showSamples();
}

function callOf({ id }: Task): Call {
  return {
    origin: location.origin,
    task: id,
    input: input.value,
    file: input.file,
    fields: {
      ...options.values,
      ...(isStreamed.checked && { stream: true }),
      ...(isExplained.checked && { explain: true }),
    },
  };
}

function showSamples(): void {
  const task = chosen();
  if (!task) return;
  const { labels, input: kind } = task.definition;
  samples.show(callOf(task), labels === null && (kind === "text" || kind === "document"));
}

async function run(task: Task): Promise<void> {
  running?.abort();
  const controller = new AbortController();
  running = controller;
  stopButton.disabled = false;
  answer.begin();
  const { signal } = controller;
  try {
    for await (const event of runTask(callOf(task), keyField.value.trim(), signal)) {
      if (running === controller) answer.show(event);
    }
    if (running === controller) answer.end();
  } catch (error) {
    // A run that another one took the place of has nothing to say.
    if (running !== controller) return;
    if (signal.aborted) answer.stopped();
    else answer.failed(error);
  }
  if (running !== controller) return;
  running = null;
  if (document.activeElement === stopButton) runButton.focus();
  stopButton.disabled = true;
}

function openFragment(): void {
  const given = takeFragment();
  if (given.key !== null) keyField.value = given.key;
  const key = keyField.value.trim();
  if (key === "") keyField.focus();
  else
    void open(key, given.task).then(() => {
      if (given.input !== null) input.fill(given.input);
    });
}

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  void open(keyField.value.trim(), taskSelect.value);
});
keyShow.addEventListener("click", () => {
  const isShown = keyField.type === "password";
  keyField.type = isShown ? "text" : "password";
  keyShow.setAttribute("aria-pressed", String(isShown));
});
taskSelect.addEventListener("change", showTask);
form.addEventListener("input", showSamples);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const task = chosen();
  if (task) void run(task);
});
stopButton.addEventListener("click", () => running?.abort());
addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#key=")) openFragment();
});
const copyButton = byId("answer-copy", HTMLButtonElement);
copyButton.addEventListener("click", () => void copy(copyButton, byId("answer-text", HTMLDivElement)));

keyField.value = keptKey();
openFragment();
