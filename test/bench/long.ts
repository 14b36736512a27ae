/**
 * `npm run bench:long [-- --rounds N] [--json]`: the Workers as `npm start` runs them, from a file's bytes to the whole answer
 * over HTTP: a PDF of 40 pages summarized in 200 words, 1,000 sentences translated, and one sentence after the other beside
 * them. The texts are real: package descriptions and Tatoeba's sentences, both of test/fixtures.
 */
import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { gunzipSync } from "fflate";
import { PDFDocument, StandardFonts } from "pdf-lib";
import { formatTable } from "../../src/cli/output.ts";
import { Kit, makeState } from "../edge/kit.ts";
import { median } from "./measure.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "3" }, json: { type: "boolean" } } });
const ROUNDS = Number(values.rounds);
const PAGES = 40;
const SENTENCES = 1000;
const SINGLES = 40;
const WORDS = 200;
const FIXTURES = new URL("../fixtures/", import.meta.url);

interface Answer {
  output: string;
  usage: { input_tokens: number; output_tokens: number };
}

interface Timed {
  seconds: number;
  promptTokens: number;
  completionTokens: number;
}

/** English sentences, each once: the corpus has them in runs of one language. */
async function sentences(): Promise<string[]> {
  const lines = new TextDecoder().decode(gunzipSync(await readFile(new URL("corpus.txt.gz", FIXTURES)))).split("\n");
  const rows = await rowsOf("translate-de");
  const prefix = "translate English to German: ";
  const english = [...rows.map((row) => row.slice(prefix.length)), ...lines.filter((line) => ENGLISH.test(line))];
  return [...new Set(english)].slice(0, SENTENCES);
}

const ENGLISH = /^[A-Z][a-z' ,]*\b(the|is|was|are|you|he|she|they|have|has|to|of|I'm|it)\b[a-zA-Z' ,]*[.?!]$/;

async function rowsOf(task: string): Promise<string[]> {
  const text = await readFile(new URL(`reference/${task}.jsonl`, FIXTURES), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { input: string }).input);
}

/** Descriptions of packages, five a page, a heading on every fourth. */
async function report(): Promise<Uint8Array> {
  const bodies = (await rowsOf("summarize")).map((row) => row.slice("summarize: ".length));
  const pdf = await PDFDocument.create();
  const font = await pdf.embedFont(StandardFonts.TimesRoman);
  const bold = await pdf.embedFont(StandardFonts.TimesRomanBold);
  const perPage = Math.ceil(bodies.length / PAGES);
  for (let number = 0; number < PAGES; number++) {
    const page = pdf.addPage();
    let y = 790;
    if (number % 4 === 0) page.drawText(`Part ${number / 4 + 1}`, { x: 50, y, size: 20, font: bold });
    for (const body of bodies.slice(number * perPage, (number + 1) * perPage)) {
      const text = body.replace(/[^\x20-\x7e]/g, " ");
      const lines = Math.ceil(font.widthOfTextAtSize(text, 11) / 480) + 1;
      y -= 30;
      page.drawText(text, { x: 50, y, size: 11, lineHeight: 14, maxWidth: 490, font });
      y -= 14 * lines;
    }
  }
  return pdf.save();
}

const { state, remove } = await makeState();
const kit = await Kit.start(state, ["--demo", "--readers", "documents"]);
const key = /\/#key=(et5_\S+)/.exec(kit.output)?.[1] ?? "";

async function ask(task: string, init: RequestInit): Promise<Answer> {
  const headers = { authorization: `Bearer ${key}`, ...init.headers };
  const response = await fetch(`${kit.url}/v1/tasks/${task}`, { ...init, method: "POST", headers });
  const body = await response.text();
  if (!response.ok) throw new Error(`${task}: ${response.status} ${body.slice(0, 500)}`);
  return JSON.parse(body) as Answer;
}

async function timed(work: () => Promise<Answer[]>): Promise<Timed> {
  const began = performance.now();
  const answers = await work();
  const seconds = (performance.now() - began) / 1000;
  const sum = (name: "input_tokens" | "output_tokens") => answers.reduce((total, { usage }) => total + usage[name], 0);
  return { seconds, promptTokens: sum("input_tokens"), completionTokens: sum("output_tokens") };
}

const translated = (input: string) => ask("translate-de", { body: JSON.stringify({ input }) });

try {
  const all = await sentences();
  if (all.length < SENTENCES) throw new Error(`only ${all.length} sentences`);
  const file = (await report()) as Uint8Array<ArrayBuffer>;
  const summarized = () => {
    const form = new FormData();
    form.set("file", new File([file], "report.pdf", { type: "application/pdf" }));
    form.set("words", String(WORDS));
    return ask("summarize", { body: form });
  };
  const works: Record<string, () => Promise<Answer[]>> = {
    [`${SINGLES} sentences, one after the other`]: async () => {
      const answers: Answer[] = [];
      for (const sentence of all.slice(0, SINGLES)) answers.push(await translated(sentence));
      return answers;
    },
    [`${SENTENCES.toLocaleString("en")} sentences, translated`]: async () => [await translated(all.join("\n"))],
    [`PDF of ${PAGES} pages (${Math.round(file.length / 1000)} kB), in ${WORDS} words`]: async () => {
      const answer = await summarized();
      const words = answer.output.split(/\s+/).filter(Boolean).length;
      if (Math.abs(words - WORDS) > WORDS / 10) throw new Error(`The summary has ${words} words.`);
      return [answer];
    },
  };
  for (const work of Object.values(works)) await work();
  const rounds = new Map<string, Timed[]>(Object.keys(works).map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, work] of Object.entries(works)) rounds.get(name)?.push(await timed(work));
  }
  const results = [...rounds].map(([name, times]) => {
    const middle = (of: (time: Timed) => number) => median(times.map(of));
    return {
      name,
      seconds: middle(({ seconds }) => seconds),
      promptTokens: middle(({ promptTokens }) => promptTokens),
      completionTokens: middle(({ completionTokens }) => completionTokens),
      tokensPerSecond: middle(({ seconds, completionTokens }) => completionTokens / seconds),
    };
  });
  const single = results[0]?.tokensPerSecond ?? Number.NaN;
  const machine = `${cpus()[0]?.model ?? ""}, ${cpus().length} cores`;
  if (values.json) console.log(JSON.stringify({ machine, rounds: ROUNDS, results }));
  else {
    const rows = results.map(({ name, seconds, promptTokens, completionTokens, tokensPerSecond }) => [
      name,
      seconds.toFixed(2),
      promptTokens.toLocaleString("en"),
      completionTokens.toLocaleString("en"),
      tokensPerSecond.toFixed(0),
      (tokensPerSecond / single).toFixed(2),
    ]);
    console.log(
      formatTable(["AT THE EDGE", "SECONDS", "TOKENS IN", "TOKENS OUT", "OUT A SECOND", "÷ ONE STREAM"], rows),
    );
    console.log(`\nMedians of ${ROUNDS} rounds after a first one. ${machine}.`);
  }
} finally {
  await kit.stop();
  await remove();
}
