import { readFileSync } from "node:fs";

import { caption, card, choose, drop, expect, expectNoOverflow, look, open, sample, test, useSample } from "./page";

test("a first visit: a sample is described, with how sure it is and how long it took", async ({ page }) => {
  await open(page);
  await expect(page.getByText(/The model here is mini/).first()).toBeVisible();
  await look(page, "start");
  await useSample(page, /sample: A photographer/);
  const first = card(page, "A photographer behind a tripod");
  await expect(caption(first)).toHaveText(/^a man .+/);
  await expect(first.getByRole("meter", { name: "How sure" })).toHaveAttribute("aria-valuenow", /^[1-9]\d?$/);
  await expect(first.getByText(/^\d[\d.]* m?s$/)).toBeVisible();
  await expect(page.getByRole("status").filter({ hasText: "Caption of A photographer behind a tripod: a man" })).toBeAttached();
});

test("several pictures, other captions, and the same ones from the cache", async ({ page }) => {
  await open(page);
  await choose(page, sample("camera.jpg"), sample("chelsea.jpg"), sample("astronaut.jpg"));
  for (const name of ["camera.jpg", "chelsea.jpg", "astronaut.jpg"]) await expect(caption(card(page, name))).toBeVisible();
  await expect(page.getByText("3 pictures", { exact: true })).toBeVisible();
  const first = card(page, "camera.jpg");
  const text = await caption(first).textContent();
  await first.getByRole("button", { name: "Other captions" }).click();
  const others = first.getByRole("list", { name: "Other captions" }).getByRole("listitem");
  await expect(others).not.toHaveCount(0);
  for (const other of await others.allTextContents()) expect(other).not.toBe(text);
  await look(page, "described");

  // Another visit asks the same: the service knows the answer.
  await page.evaluate(() => sessionStorage.clear());
  await open(page, "/?again");
  await choose(page, sample("camera.jpg"));
  await expect(caption(first)).toHaveText(text!);
  await expect(first.getByText("Answered from cache")).toBeVisible();
  await page.getByText("How it is worded").click();
  await page.getByText("Careful").click();
  await expect(caption(first)).toHaveText(/^a man .+/);
  await page.getByRole("button", { name: "Remove camera.jpg" }).click();
  await choose(page, sample("camera.jpg"));
  await expect(first.getByText("Answered from cache")).toBeVisible();
});

test("a prompt, the wording, and no words lost", async ({ page }) => {
  await open(page);
  await choose(page, sample("camera.jpg"));
  await expect(caption(card(page, "camera.jpg"))).toBeVisible();
  await page.getByLabel("Let every caption begin with").fill("the person is");
  await page.getByRole("button", { name: "Describe again" }).click();
  await expect(caption(card(page, "camera.jpg"))).toHaveText(/^the person is \w+/);
  await page.getByText("How it is worded").click();
  await page.getByText("Varied").click();
  await page.getByText("Long", { exact: true }).click();
  await expect(caption(card(page, "camera.jpg"))).toHaveText(/^the person is( \S+){6,}/);
  await look(page, "options");
  await page.reload();
  await expect(page.getByLabel("Let every caption begin with")).toHaveValue("the person is");
  await expect(caption(card(page, "camera.jpg"))).toHaveText(/^the person is/);
});

test("copying and saving", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await open(page);
  await choose(page, sample("camera.jpg"));
  const first = card(page, "camera.jpg");
  await expect(caption(first)).toBeVisible();
  const text = (await caption(first).textContent()) ?? "";
  await first.getByRole("button", { name: "Copy", exact: true }).click();
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toBe(text);
  await first.getByRole("button", { name: "Copy alt text" }).click();
  await expect
    .poll(() => page.evaluate(() => navigator.clipboard.readText()))
    .toBe(`alt="${text.charAt(0).toUpperCase()}${text.slice(1)}"`);
  const [asText] = await Promise.all([page.waitForEvent("download"), first.getByRole("button", { name: "Text file" }).click()]);
  expect(asText.suggestedFilename()).toBe("camera.txt");
  expect(readFileSync(await asText.path(), "utf-8")).toBe(`${text}\n`);
  const [asJson] = await Promise.all([page.waitForEvent("download"), first.getByRole("button", { name: "JSON file" }).click()]);
  expect(JSON.parse(readFileSync(await asJson.path(), "utf-8"))).toMatchObject({ file: "camera.jpg", text, model: "mini" });
});

test("dropping, pasting and the camera, at any width", async ({ page }) => {
  await open(page);
  const body = readFileSync(sample("chelsea.jpg"));
  await drop(page, [{ name: "dropped.jpg", type: "image/jpeg", body }]);
  await expect(caption(card(page, "dropped.jpg"))).toBeVisible();
  await page.evaluate((content) => {
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], "pasted.jpg", { type: "image/jpeg" }));
    window.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
  }, body.toString("base64"));
  await expect(caption(card(page, "pasted.jpg"))).toBeVisible();
  await page.locator('[data-intake="camera"]').setInputFiles(sample("camera.jpg"));
  await expect(caption(card(page, "camera.jpg"))).toBeVisible();
  for (const width of [360, 700, 1024, 1920]) {
    await page.setViewportSize({ width, height: 800 });
    await expectNoOverflow(page);
  }
  await page.getByRole("button", { name: "Remove all" }).click();
  await expect(page.getByText("Choose pictures")).toBeVisible();
});

test("with the keyboard alone", async ({ page }) => {
  await open(page);
  const press = async (name: RegExp | string) => {
    for (let steps = 0; steps < 60; steps++) {
      await page.keyboard.press("Tab");
      const focused = page.locator(":focus");
      const words = await focused.evaluate((element) => element.getAttribute("aria-label") ?? element.textContent ?? "");
      if (typeof name === "string" ? words === name : name.test(words)) return await page.keyboard.press("Enter");
    }
    throw new Error(`Tab never comes to ${String(name)}`);
  };
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeInViewport();
  await page.keyboard.press("Enter");
  await press("Use the sample: A photographer behind a tripod");
  await expect(caption(card(page, "A photographer behind a tripod"))).toBeVisible();
  await page.reload();
  await expect(caption(card(page, "A photographer behind a tripod"))).toBeVisible();
  await press("Other captions");
  await expect(page.getByRole("list", { name: "Other captions" })).toBeVisible();
  await press("Ask about it");
  await expect(page.getByRole("heading", { name: "Ask about a picture" })).toBeVisible();
  await page.getByLabel("Your question").focus();
  await page.keyboard.type("How many people are there?");
  await page.keyboard.press("Enter");
  await expect(page.locator("[data-answer]")).toContainText(/one/);
  await expect(page.getByLabel("Your question")).toBeFocused();
  await page.keyboard.press("Shift+Tab");
  for (let steps = 0; steps < 20 && !(await page.getByRole("button", { name: /Service and model/ }).evaluate((e) => e === document.activeElement)); steps++) {
    await page.keyboard.press("Shift+Tab");
  }
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog", { name: "Service and model" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toBeHidden();
  await expect(page.getByRole("button", { name: /Service and model/ })).toBeFocused();
});
