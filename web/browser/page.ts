/** The page as the tests see it. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { expect, test as base, type Locator, type Page } from "@playwright/test";

const SAMPLES = join(import.meta.dirname, "..", "..", "samples");
const SHOTS = join(import.meta.dirname, "..", "screenshots");
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf-8");

export const sample = (name: string): string => join(SAMPLES, name);

/** Fails whatever a test does where the page logs an error of its own or breaks its Content-Security-Policy. */
export const test = base.extend<{ quiet: void }>({
  quiet: [
    async ({ page }, use) => {
      const faults: string[] = [];
      page.on("pageerror", (error) => faults.push(error.message));
      page.on("console", (message) => {
        const text = message.text();
        if (message.type() === "error" && !text.startsWith("Failed to load resource")) faults.push(text);
      });
      await use();
      expect(faults).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

export async function open(page: Page, address = "/"): Promise<void> {
  await page.goto(address);
  await expect(page.getByRole("button", { name: /Service and model/ })).toContainText(/ready|key needed/);
  const [, view] = address.split("#"); // shown once the page has come alive
  if (view) await expect(page.locator(`[aria-current="page"][href="#${view}"]`)).toBeVisible();
}

/** The card of a picture in Describe. */
export const card = (page: Page, name: string): Locator => page.getByRole("article", { name });

export const caption = (within: Locator): Locator => within.locator('[data-caption="done"]');

export async function choose(page: Page, ...files: Parameters<Locator["setInputFiles"]>[0][]): Promise<void> {
  await page.locator('[data-intake="files"]:visible, [data-intake="files"]').first().setInputFiles(files.flat() as string[]);
}

export async function useSample(page: Page, name: RegExp): Promise<void> {
  await page.getByRole("button", { name }).click();
}

/** No serious or critical finding of axe, at the present state of the page. rules: those alone, or all. */
export async function expectAccessible(page: Page, ...rules: string[]): Promise<void> {
  await page.evaluate(AXE);
  const found = await page.evaluate(async (only) => {
    const axe = (window as unknown as { axe: { run: (options: object) => Promise<AxeResults> } }).axe;
    const { violations } = await axe.run(only.length ? { runOnly: only } : {});
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(" | ")}`);
  }, rules);
  expect(found).toEqual([]);
}

type AxeResults = { violations: { id: string; impact: string; nodes: { html: string }[] }[] };

/** Nothing sticks out to the side. */
export async function expectNoOverflow(page: Page): Promise<void> {
  const [inner, whole] = await page.evaluate(() => [document.documentElement.clientWidth, document.documentElement.scrollWidth]);
  expect(whole).toBeLessThanOrEqual(inner as number);
}

/** For people to look at: web/screenshots/, in light and dark. Checks overflow and accessibility in both. */
export async function look(page: Page, name: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.evaluate(async () => {
      window.scrollTo({ top: 0, behavior: "instant" });
      // Until the colours are those of the scheme: axe would else hold new ones against old ones.
      for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    });
    await expectNoOverflow(page);
    await expectAccessible(page, ...(colorScheme === "dark" ? ["color-contrast"] : [])); // what else could differ?
    await page.screenshot({ path: join(SHOTS, `${base.info().project.name}-${name}-${colorScheme}.png`), fullPage: true });
  }
}

/** Drops files on the page, as the browser would. */
export async function drop(page: Page, files: { name: string; type: string; body: Buffer }[]): Promise<void> {
  const data = await page.evaluateHandle((given) => {
    const transfer = new DataTransfer();
    for (const { name, type, body } of given) {
      const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
      transfer.items.add(new File([bytes], name, { type }));
    }
    return transfer;
  }, files.map(({ name, type, body }) => ({ name, type, body: body.toString("base64") })));
  await page.dispatchEvent("main", "dragenter", { dataTransfer: data });
  await expect(page.getByText("Let go to add them")).toBeVisible();
  await page.dispatchEvent("main", "drop", { dataTransfer: data });
  await expect(page.getByText("Let go to add them")).toBeHidden();
}
