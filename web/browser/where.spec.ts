import { readFileSync } from "node:fs";

import type { Page } from "@playwright/test";

import { caption, card, choose, expect, look, open, sample, test, useSample } from "./page";
import { KEY, LOCKED } from "./places";
import { Proxy } from "./proxy";

/** How much of the canvas over the picture is more than half opaque, and where its most opaque point is, as shares. */
const heat = (page: Page) =>
  page.locator("canvas[data-heat]").evaluate((canvas: HTMLCanvasElement) => {
    const { data, width, height } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    let [lit, best, at] = [0, -1, 0];
    for (let pixel = 0; pixel < data.length / 4; pixel++) {
      const opacity = data[4 * pixel + 3]!;
      if (opacity > 127) lit += 1;
      if (opacity > best) [best, at] = [opacity, pixel];
    }
    return { lit: lit / (width * height), x: (at % width) / width, y: Math.floor(at / width) / height };
  });

test("the words of a caption light their regions, and so do words that are typed", async ({ page }) => {
  await open(page, "/#where");
  await useSample(page, /sample: A photographer/);
  const ofCaption = page.getByRole("group", { name: "From its caption" }).getByRole("radio");
  await expect(ofCaption.first()).toBeChecked();
  await expect(page.locator("canvas[data-heat]")).toBeVisible();
  const first = await heat(page);
  expect(first.lit).toBeGreaterThan(0.01);
  expect(first.lit).toBeLessThan(0.95);
  const box = page.locator("svg[role=img] g:last-child rect[data-box]").first();
  await expect(box).toBeVisible();
  const phrase = await page.locator("[data-region]").getAttribute("data-region");
  await expect(page.getByRole("status").filter({ hasText: new RegExp(`^${phrase}: .+, \\d+ %$`) })).toBeAttached();
  await expect(page.locator("[data-region]").getByRole("meter")).toHaveAttribute("aria-valuenow", /\d+/);
  await look(page, "where");

  await page.getByLabel("Look for something else").fill("the  sky ");
  await page.keyboard.press("Enter");
  const own = page.getByRole("group", { name: "Your own words" });
  await expect(own.getByRole("radio", { name: "the sky" })).toBeChecked();
  await expect(page.locator('canvas[data-heat="the sky"]')).toBeVisible();
  expect(await heat(page)).not.toEqual(first);
  await page.getByLabel("Strength of the colours").fill("0.3");
  await expect(page.locator("canvas[data-heat]")).toHaveCSS("opacity", "0.3");
  await page.getByLabel("Strength of the colours").fill("0.8");
  await page.getByLabel("Look for something else").fill("this stays");
  await page.reload();
  await expect(page.locator('canvas[data-heat="the sky"]')).toBeVisible();
  await expect(page.getByLabel("Look for something else")).toHaveValue("this stays");
  await page.getByRole("button", { name: "Remove the sky" }).click();
  await expect(own).toHaveCount(0);
  await expect(ofCaption.first()).toBeChecked();
  await expect(page.getByLabel("Look for something else")).toBeFocused();
});

test("with the keyboard alone, from Describe", async ({ page }) => {
  await open(page);
  await choose(page, sample("chelsea.jpg"));
  await expect(caption(card(page, "chelsea.jpg"))).toBeVisible();
  await card(page, "chelsea.jpg").getByRole("button", { name: "Where" }).focus();
  await page.keyboard.press("Enter");
  const radios = page.getByRole("group", { name: "From its caption" }).getByRole("radio");
  await expect(radios.first()).toBeChecked();
  await page.getByLabel("Look for something else").focus();
  await page.keyboard.type("the ears");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("radio", { name: "the ears" })).toBeChecked();
  await expect(page.locator('[data-region="the ears"]')).toBeVisible();
  await page.keyboard.press("Shift+Tab"); // to its Remove
  await page.keyboard.press("Shift+Tab"); // to the chosen radio button
  await expect(page.getByRole("radio", { name: "the ears" })).toBeFocused();
  await page.keyboard.press("ArrowLeft");
  await expect(radios.last()).toBeChecked();
  const phrase = (await page.locator("[data-region]").getAttribute("data-region")) ?? "";
  expect(phrase).not.toBe("the ears");
  await expect(page.locator(`canvas[data-heat="${phrase}"]`)).toBeVisible();
  await page.getByLabel("Strength of the colours").focus();
  await page.keyboard.press("Home");
  await expect(page.locator("canvas[data-heat]")).toHaveCSS("opacity", "0");
});

test.describe("a service in trouble", () => {
  let proxy: Proxy;
  test.beforeEach(async () => {
    proxy = await new Proxy().start();
  });
  test.afterEach(() => proxy.stop());

  test("hostile phrases are text; a busy service is waited for", async ({ page }) => {
    const html = '<b>bold</b> <img src=x onerror="alert(2)">';
    let alerts = 0;
    page.on("dialog", (dialog) => void (alerts++, dialog.dismiss()));
    await open(page, `${proxy.url}/#where`);
    await choose(page, sample("camera.jpg"));
    await expect(page.getByRole("radio").first()).toBeChecked();
    let refused = 0;
    proxy.handle = (asked, answer, pass) => {
      if (asked.url !== "/v1/ground" || refused++) return pass();
      answer.writeHead(429, { "content-type": "application/problem+json", "retry-after": "2" });
      answer.end('{"status": 429, "code": "busy", "detail": "too much work"}');
    };
    await page.getByLabel("Look for something else").fill(html);
    await page.keyboard.press("Enter");
    await expect(page.getByText("The service is busy")).toBeVisible();
    await expect(page.getByText(/Trying again in \d s\./).first()).toBeVisible();
    await expect(page.locator("[data-region]")).toContainText(html);
    await page.getByLabel("Look for something else").fill("endless".repeat(28));
    await page.keyboard.press("Enter");
    await expect(page.locator("[data-region]")).toContainText("endless".repeat(28));
    await look(page, "where-hostile");
    expect(alerts).toBe(0);
    expect(await page.locator("main b, main [onerror]").count()).toBe(0);
    await proxy.stop();
    await page.getByLabel("Look for something else").fill("a tower");
    await page.keyboard.press("Enter");
    await expect(page.getByText("The service cannot be reached")).toBeVisible();
    await proxy.restart();
    await expect(page.locator('[data-region="a tower"]')).toBeVisible();
  });

  test("a picture that the browser cannot show is drawn by the service; a tall one keeps its shape", async ({ page }) => {
    await open(page, "/#where");
    await choose(page, { name: "plain.ppm", mimeType: "image/x-portable-pixmap", buffer: pixmap(120, 360) } as never);
    await page.getByLabel("Look for something else").fill("the dark half");
    await page.keyboard.press("Enter");
    await expect(page.getByRole("img", { name: /^Where the picture shows “the dark half”/ })).toHaveJSProperty("naturalWidth", 120);
    await look(page, "where-tall");
  });

  test("a key is asked for, and what was typed is there afterwards", async ({ page }) => {
    await page.addInitScript(() => sessionStorage.setItem("openblip.key", "ob_expired"));
    await open(page, `${LOCKED}/#where`);
    const dialog = page.getByRole("dialog", { name: "Sign in" });
    await dialog.getByLabel("API key").fill(KEY);
    await page.keyboard.press("Enter");
    await choose(page, { name: "camera.jpg", mimeType: "image/jpeg", buffer: readFileSync(sample("camera.jpg")) } as never);
    await expect(page.getByRole("radio").first()).toBeChecked();
  });
});

/** Light above, dark below: a format that no browser reads. */
function pixmap(width: number, height: number): Buffer {
  const pixels = Buffer.alloc(3 * width * height, 220);
  pixels.fill(30, pixels.length / 2);
  return Buffer.concat([Buffer.from(`P6 ${width} ${height} 255\n`), pixels]);
}
