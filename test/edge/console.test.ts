/**
 * The page at `/` in a browser, as `npm start` serves it.
 *
 * `CONSOLE_SHOT=docs/console.png npx vitest run --project node test/edge/console.test.ts` writes its picture.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DEMO_TENANT } from "../../src/local/demo.ts";
import { ENDLESS, Kit, makeState } from "./kit.ts";

const CHROMIUM = "/usr/bin/chromium";
const SHOT = process.env.CONSOLE_SHOT;
const HOUSE = "The house is old.";
/** What the picture has. */
const LETTER = `The weather is fine today, and I am going to visit my sister. Can you help me with my homework?

I have lived in this house for ten years. See you tomorrow!`;

/** Of the Layout Instability API, which TypeScript's DOM has not. */
interface Shift {
  value: number;
  sources: readonly { node: Node | null }[];
}

describe.skipIf(!existsSync(CHROMIUM))("the page in Chromium", () => {
  let kit: Kit;
  let state: Awaited<ReturnType<typeof makeState>>;
  let browser: Browser;
  /** As it was printed. */
  let key: string;
  beforeAll(async () => {
    state = await makeState();
    kit = await Kit.start(state.state, ["--demo", "--readers", "documents"]);
    key = /\/#key=(et5_\S+)/.exec(kit.output)?.[1] ?? "";
    const tasks = `/admin/tenants/${DEMO_TENANT}/tasks`;
    const anywhere = {
      model: "default",
      template: "translate English to {language}: {text}",
      overridable: ["num_beams"],
    };
    await kit.admin("PUT", `${tasks}/anywhere`, anywhere);
    const summary = { model: "default", template: "summarize: {input}" };
    await kit.admin("PUT", `${tasks}/document`, { ...summary, input: "document" });
    await kit.admin("PUT", `${tasks}/table`, { ...summary, input: "table" });
    await kit.admin("PUT", `${tasks}/endless`, { model: ENDLESS, template: "{input}", overridable: ["max_tokens"] });
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  }, 180_000);
  afterAll(async () => {
    await browser?.close();
    await kit?.stop();
    await state?.remove();
  });

  /** Closes when the test's work is done; nothing may have been asked of another host, and nothing complained of. */
  async function visit(fragment: string, options: BrowserContextOptions, work: (page: Page) => Promise<void>) {
    const context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"], ...options });
    const page = await context.newPage();
    const elsewhere: string[] = [];
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(`${kit.url}/`) && !url.startsWith("data:")) elsewhere.push(url);
    });
    const complaints: string[] = [];
    page.on("pageerror", (error) => void complaints.push(String(error)));
    page.on("console", (message) => {
      // The browser's own line for an error of the API, which the page tells.
      if (!/^Failed to load resource: .* status of 4/.test(message.text())) complaints.push(message.text());
    });
    await page.goto(`${kit.url}/${fragment}`);
    await work(page);
    await context.close();
    expect([elsewhere, complaints]).toEqual([[], []]);
  }

  const open = (work: (page: Page) => Promise<void>, given = "", options: BrowserContextOptions = {}) =>
    visit(`#key=${key}${given}`, options, async (page) => {
      await page.locator("#run:enabled").waitFor();
      await work(page);
    });

  /** Runs what the form says until it is done. */
  async function run(page: Page): Promise<void> {
    await page.getByRole("button", { name: "Run" }).click();
    await page.locator("#status", { hasText: /^Done|^Failed/ }).waitFor();
  }

  const figure = (page: Page, name: string) => page.locator(`#figure-${name} dd`).textContent();

  async function ask<Json>(task: string, body: object): Promise<Json> {
    const headers = { authorization: `Bearer ${key}` };
    const answer = await fetch(`${kit.url}/v1/tasks/${task}`, { method: "POST", headers, body: JSON.stringify(body) });
    expect(answer.status).toBe(200);
    return (await answer.json()) as Json;
  }

  const widthOf = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth);

  test("takes the key out of the address, keeps it in the tab, lists its tasks; no other script may run", () =>
    open(async (page) => {
      expect(page.url()).toBe(`${kit.url}/`);
      expect(await page.evaluate(() => [...Object.values(sessionStorage), localStorage.length])).toEqual([key, 0]);
      const names = await page.locator("#task option").allTextContents();
      expect(names).toEqual(
        expect.arrayContaining([
          "anywhere",
          "classify-package",
          "document",
          "endless",
          "summarize",
          "table",
          "translate-de",
          "translate-fr",
        ]),
      );
      const response = await page.reload();
      await page.locator("#run:enabled").waitFor();
      const policy = response?.headers()["content-security-policy"];
      expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-[^ ]+'; script-src 'self'; connect-src 'self'; /);
      // The picture of the tab is the page's own, and the style was taken.
      expect(await page.evaluate(() => getComputedStyle(document.body).maxWidth)).toBe("1248px");
    }));

  test("a translation streams, with its figures, and nothing moves", () =>
    open(
      async (page) => {
        await page.evaluate(() => {
          const seen = { texts: [] as (string | null)[], shift: 0 };
          Object.assign(globalThis, { seen });
          const answer = document.querySelector("#answer-text");
          if (!answer) throw new Error("no answer");
          new MutationObserver((records) => {
            for (const { type, oldValue } of records) if (type === "characterData") seen.texts.push(oldValue);
          }).observe(answer, { characterData: true, characterDataOldValue: true, subtree: true });
          new PerformanceObserver((list) => {
            // The caret goes with the text; it is no element.
            for (const { value, sources } of list.getEntries() as (PerformanceEntry & Shift)[]) {
              if (sources.some(({ node }) => node !== null)) seen.shift += value;
            }
          }).observe({ type: "layout-shift" });
        });
        await run(page);
        const { output, usage } = await ask<{ output: string; usage: { input_tokens: number; output_tokens: number } }>(
          "translate-de",
          { input: HOUSE },
        );
        expect(await page.locator("#answer-text").innerText()).toBe(output);
        const { texts, shift } = await page.evaluate(
          () => (globalThis as unknown as { seen: { texts: string[]; shift: number } }).seen,
        );
        expect(texts.length).toBeGreaterThan(2);
        for (const text of texts) expect(output.startsWith(text)).toBe(true);
        expect(shift).toBe(0);
        expect(await figure(page, "input")).toBe(String(usage.input_tokens));
        expect(await figure(page, "output")).toBe(String(usage.output_tokens));
        for (const name of ["first", "whole"]) expect(await figure(page, name)).toMatch(/^\d+ ms$|^\d+\.\d\d s$/);
        expect(Number(await figure(page, "rate"))).toBeGreaterThan(0);
        expect(await figure(page, "served")).toBe("edge");
        expect(await figure(page, "model")).toMatch(/^[0-9a-f]{16}$/);
        expect(await figure(page, "request")).toMatch(/^[\w=-]+$/);
        if ("cost" in usage) expect(await figure(page, "cost")).toMatch(/^\$0\.0*[1-9]\d*$/);
        else expect(await page.locator("#figure-cost").isVisible()).toBe(false);
        if (SHOT) await shoot(page, SHOT);
      },
      `&task=translate-de&input=${encodeURIComponent(HOUSE)}`,
      { viewport: { width: 1200, height: 900 }, ...(SHOT && { deviceScaleFactor: 2 }) },
    ));

  async function shoot(page: Page, path: string): Promise<void> {
    await mkdir(dirname(path), { recursive: true });
    await page.fill("#input-input", LETTER);
    await run(page);
    await page.evaluate((url) => {
      const code = document.querySelector("#sample");
      if (code) code.textContent = code.textContent.replace(url, "http://localhost:8787");
    }, kit.url);
    await page.screenshot({ path, fullPage: true });
  }

  test("a label has every label's score as a bar", () =>
    open(async (page) => {
      await page.selectOption("#task", "classify-package");
      await page.getByRole("button", { name: "Try an example" }).click();
      await run(page);
      const input = await page.inputValue("#input-input");
      const { label, scores } = await ask<{ label: string; scores: { label: string; score: number }[] }>(
        "classify-package",
        { input },
      );
      expect(await page.locator("#answer-text").innerText()).toBe(label);
      const bars = page.getByRole("table", { name: "Every label’s score" }).getByRole("meter");
      expect(await bars.count()).toBe(scores.length);
      const [first] = await bars.evaluateAll((all: HTMLMeterElement[]) =>
        all.map((bar) => ({ label: bar.ariaLabel, score: bar.value })),
      );
      expect(first?.label).toBe(label);
      expect(first?.score).toBeCloseTo(scores[0]?.score ?? 0, 6);
    }));

  test("fields of a pair, parameters, an answer that comes whole", () =>
    open(async (page) => {
      await page.selectOption("#task", "anywhere");
      await page.getByLabel("language").fill("German");
      await page.getByLabel("text", { exact: true }).fill(HOUSE);
      await page.getByText("Options").click();
      await page.getByLabel("num_beams").fill("2");
      await page.getByLabel("Stream").uncheck();
      await run(page);
      const body = { input: { language: "German", text: HOUSE }, num_beams: 2 };
      expect(await page.locator("#answer-text").innerText()).toBe(
        (await ask<{ output: string }>("anywhere", body)).output,
      );
      expect(await page.locator("#sample").innerText()).toContain(`-d '${JSON.stringify(body)}'`);
    }));

  test("the curl that is copied works in a shell", () =>
    open(async (page) => {
      await page.locator("#sample-copy").click();
      const curl = await page.evaluate(() => navigator.clipboard.readText());
      expect(curl).toBe(await page.locator("#sample").innerText());
      const env = { ...process.env, EDGE_T5_KEY: key };
      const { stdout } = await promisify(execFile)("bash", ["-c", curl.replace(/^curl/, "curl -sS")], { env });
      expect(stdout).toMatch(/^data: \{"index":0,"text":.*data: \[DONE\]\s*$/s);
      await page.getByText("TypeScript", { exact: true }).click();
      expect(await page.locator("#sample").innerText()).toContain("await fetch(");
      await page.getByText("OpenAI’s client").click();
      expect(await page.locator("#sample").innerText()).toContain('edge.completions.create({ model: "translate-fr"');
    }, "&task=translate-fr&input=It's%20old."));

  test("a key that opens nothing, and an error of the API, in words", async () => {
    await visit("#key=et5_wrong", {}, async (page) => {
      await page.locator("#key-note.error").waitFor();
      expect(await page.locator("#key-note").innerText()).toMatch(/^This key opens nothing\./);
      expect(await page.getByRole("button", { name: "Run" }).isDisabled()).toBe(true);
    });
    await open(async (page) => {
      await page.selectOption("#task", "translate-de");
      await page.locator("#input-input").fill(HOUSE);
      await page.getByText("Options").click();
      // Greedy decoding has one answer.
      await page.getByLabel("n", { exact: true }).fill("2");
      await run(page);
      expect(await page.locator("#status").innerText()).toBe("Failed.");
      const told = await page.locator("#answer .error").innerText();
      expect(told).toContain("temperature");
      expect(told).toContain("invalid_value");
      expect(told).toContain(`request ${await figure(page, "request")}`);
    });
  });

  test("Stop ends the answer, and gives the keyboard back to Run", () =>
    open(async (page) => {
      await page.evaluate(() => {
        const answer = document.querySelector("#answer-text");
        const stop = document.querySelector<HTMLButtonElement>("#stop");
        if (!answer || !stop) throw new Error("no answer");
        const watch = new MutationObserver(() => {
          if (answer.textContent === "") return;
          watch.disconnect();
          stop.focus();
          stop.click();
        });
        watch.observe(answer, { childList: true, characterData: true, subtree: true });
      });
      await page.getByRole("button", { name: "Run" }).click();
      await page.locator("#status", { hasText: "Stopped." }).waitFor();
      expect(await page.locator("#answer-text").innerText()).not.toBe("");
      expect(await figure(page, "output")).toBe("–");
      expect(await page.evaluate(() => document.activeElement?.id)).toBe("run");
      await kit.idleSteps(ENDLESS);
    }, "&task=endless&input=a"));

  /** As a file manager drops it. */
  const drop = (page: Page, on: string, name: string, type: string, text: string) =>
    page.evaluate(
      ({ on, name, type, text }) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([text], name, { type }));
        const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
        document.querySelector(on)?.dispatchEvent(event);
        if (!event.defaultPrevented) throw new Error("The browser would have left the page.");
      },
      { on, name, type, text },
    );

  test("a text file is read, by drop or choice; what is no text is not for a text's field", () =>
    open(async (page) => {
      await page.selectOption("#task", "anywhere");
      await drop(page, "#input-text", "house.txt", "text/plain", HOUSE);
      await page.getByText("house.txt was read as text").waitFor();
      expect(await page.inputValue("#input-text")).toBe(HOUSE);
      const german = { name: "language.txt", mimeType: "text/plain", buffer: Buffer.from("German") };
      await page.getByLabel("Choose a file").first().setInputFiles(german);
      await expect.poll(() => page.inputValue("#input-language")).toBe("German");
      await drop(page, "#input-text", "a.pdf", "application/pdf", "%PDF-");
      await page.getByText("a.pdf is no plain text").waitFor();
      expect(await page.inputValue("#input-text")).toBe(HOUSE);
      await run(page);
      expect(await page.locator("#status").innerText()).toMatch(/^Done/);
      await page.selectOption("#task", "document");
      await drop(page, "h1", "house.txt", "text/plain", HOUSE);
      await expect.poll(() => page.inputValue("#input-input")).toBe(HOUSE);
    }));

  test("a document is sent as it is, a table also where it was written", () =>
    open(async (page) => {
      await page.selectOption("#task", "document");
      const buffer = Buffer.from(`<!doctype html><title>House</title><p>${HOUSE}</p>`);
      await page.getByLabel("Choose a file").setInputFiles({ name: "it's.html", mimeType: "text/html", buffer });
      await page.getByText(`${buffer.length} bytes, text/html`).waitFor();
      expect(await page.locator("#sample").innerText()).toContain("-F 'file=@it'\\''s.html;type=text/html'");
      expect(await page.locator("#sample-openai").isDisabled()).toBe(true);
      await page.getByLabel("Explain what the model is given").check();
      await run(page);
      expect(await page.locator("#status").innerText()).toMatch(/^Done/);
      await page.getByText("What the model was given", { exact: true }).click();
      expect(await page.locator("#explained-inputs li").first().innerText()).toContain(HOUSE);
      await page.getByRole("button", { name: "Remove" }).click();
      expect(await page.locator("#input-input").isVisible()).toBe(true);

      await page.selectOption("#task", "table");
      await page.locator("#input-input").fill("name\tyear\nhouse\t1900");
      expect(await page.locator("#sample").innerText()).toContain("filename=table.tsv;type=text/tab-separated-values");
      await run(page);
      expect(await page.locator("#status").innerText()).toMatch(/^Done/);
      expect(await page.locator("#explained-inputs li").first().innerText()).toContain("1900");
    }));

  test("on a phone it is as wide as the screen, whatever is in it", () =>
    open(
      async (page) => {
        for (const task of ["anywhere", "classify-package", "document"]) {
          await page.selectOption("#task", task);
          for (const area of await page.locator("#inputs textarea").all()) await area.fill("x".repeat(200));
          await page.evaluate(() => {
            for (const details of document.querySelectorAll("details")) details.open = true;
          });
          await run(page);
          expect(await widthOf(page)).toBeLessThanOrEqual(320);
        }
        await page.getByText("TypeScript", { exact: true }).click();
        const buffer = Buffer.from("a");
        const name = `${"long".repeat(40)}.pdf`;
        await page.getByLabel("Choose a file").setInputFiles({ name, mimeType: "application/pdf", buffer });
        await page.getByRole("button", { name: "Remove" }).waitFor();
        expect(await widthOf(page)).toBeLessThanOrEqual(320);
      },
      "",
      { viewport: { width: 320, height: 640 } },
    ));

  test("dark and light, as the reader has it; without motion where it is not wanted", () =>
    open(
      async (page) => {
        const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        expect(await background()).toBe("rgb(15, 19, 24)");
        await page.emulateMedia({ colorScheme: "light" });
        expect(await background()).toBe("rgb(246, 248, 251)");
        await page.locator("#answer-text").evaluate((answer) => answer.setAttribute("aria-busy", "true"));
        const animation = () =>
          page.locator("#answer-text").evaluate((answer) => getComputedStyle(answer, "::after").animationName);
        expect(await animation()).toBe("blink");
        await page.emulateMedia({ reducedMotion: "reduce" });
        expect(await animation()).toBe("none");
      },
      "",
      { colorScheme: "dark" },
    ));

  test("by keyboard alone: key, task, text, run, another sample", () =>
    visit("", {}, async (page) => {
      const focused = () => page.evaluate(() => document.activeElement?.id);
      const tabTo = async (id: string) => {
        for (let i = 0; (await focused()) !== id; i++) {
          if (i > 20) throw new Error(`Tab does not come to #${id}.`);
          await page.keyboard.press("Tab");
        }
        // It is seen where one is.
        expect(await page.evaluate(() => getComputedStyle(document.activeElement ?? document.body).outlineStyle)).toBe(
          "solid",
        );
      };
      await expect.poll(focused).toBe("key");
      await page.keyboard.type(key);
      await page.keyboard.press("Enter");
      await page.locator("#run:enabled").waitFor();
      await tabTo("task");
      await page.keyboard.type("translate-f");
      await tabTo("input-input");
      await page.keyboard.type(HOUSE);
      await page.keyboard.press("Control+Enter");
      await page.locator("#status", { hasText: /^Done/ }).waitFor();
      const { output } = await ask<{ output: string }>("translate-fr", { input: HOUSE });
      expect(await page.locator("#answer-text").innerText()).toBe(output);
      await tabTo("answer");
      await page.keyboard.press("Tab");
      expect(await focused()).toBe("sample-curl");
      await page.keyboard.press("ArrowRight");
      expect(await page.locator("#sample").innerText()).toContain("await fetch(");
    }));
});
