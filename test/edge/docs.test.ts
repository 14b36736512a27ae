/** `/docs` in a browser, as `npm start` serves it: nothing is loaded from elsewhere, and it is read on a phone and by keyboard. */
import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openApiDocument } from "../../src/api/openapi/document.ts";
import { Kit, makeState } from "./kit.ts";

const CHROMIUM = "/usr/bin/chromium";

describe.skipIf(!existsSync(CHROMIUM))("the reference in Chromium", () => {
  let kit: Kit;
  let state: Awaited<ReturnType<typeof makeState>>;
  let browser: Browser;
  beforeAll(async () => {
    state = await makeState();
    kit = await Kit.start(state.state);
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  }, 180_000);
  afterAll(async () => {
    await browser?.close();
    await kit?.stop();
    await state?.remove();
  });

  const background = (page: Page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

  test("shows every operation, and asks for nothing but itself", async () => {
    const requests: string[] = [];
    const page = await browser.newPage();
    page.on("request", (request) => void requests.push(request.url()));
    const complaints: string[] = [];
    page.on("console", (message) => void complaints.push(message.text()));
    const response = await page.goto(`${kit.url}/docs`);
    expect(response?.status()).toBe(200);
    expect(response?.headers()["content-security-policy"]).toMatch(/^default-src 'none'; style-src 'sha256-/);
    expect(requests.filter((url) => !url.startsWith("data:"))).toEqual([`${kit.url}/docs`]);
    expect(complaints).toEqual([]);
    const shown = await page.locator("main section > details .method").count();
    const told = Object.values(openApiDocument().paths).flatMap((methods) => Object.keys(methods));
    expect(shown).toBe(told.length);
    // The style was taken, and nothing beside it would be.
    expect(await page.evaluate(() => getComputedStyle(document.body).maxWidth)).toBe("960px");
    const ran = await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
      return "ran" in window;
    });
    expect(ran).toBe(false);
    await page.close();
  });

  test("on a phone it is as wide as the screen, with operations open", async () => {
    const page = await browser.newPage({ viewport: { width: 360, height: 640 } });
    await page.goto(`${kit.url}/docs`);
    await page.evaluate(() => {
      for (const details of document.querySelectorAll("details")) details.open = true;
    });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    await page.close();
  });

  test("dark and light, as the reader has it", async () => {
    const page = await browser.newPage({ colorScheme: "dark" });
    await page.goto(`${kit.url}/docs`);
    expect(await background(page)).toBe("rgb(19, 23, 29)");
    await page.emulateMedia({ colorScheme: "light" });
    expect(await background(page)).toBe("rgb(255, 255, 255)");
    await page.close();
  });

  test("by keyboard: skips to the routes, opens one, follows its schema", async () => {
    const page = await browser.newPage();
    await page.goto(`${kit.url}/docs`);
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("To the routes");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe("SUMMARY");
    await page.keyboard.press("Enter");
    expect(await page.locator("#createCompletion").evaluate((details: HTMLDetailsElement) => details.open)).toBe(true);
    await page.keyboard.press("Tab");
    await page.locator('#createCompletion a[href="#schema-CompletionRequest"]').first().press("Enter");
    await page.waitForURL(/#schema-CompletionRequest$/);
    await page.close();
  });
});
