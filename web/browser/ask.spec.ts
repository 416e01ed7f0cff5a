import { choose, expect, look, open, sample, test, useSample } from "./page";

test("a conversation: suggestions, several at once, runners-up, and what a reload keeps", async ({ page }) => {
  await open(page, "/#ask");
  await useSample(page, /sample: A photographer/);
  await page.getByRole("button", { name: "How many people are there?" }).click();
  const answers = page.locator("[data-answer]");
  await expect(answers).toHaveCount(1);
  await expect(answers.first()).toContainText(/one.*\d %/);
  await expect(answers.first()).toContainText("It also thought of");

  await page.getByLabel("Your question").fill("what is he wearing?\nis it raining?\n\nis it raining?");
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  await expect(answers).toHaveCount(3);
  await expect(page.getByLabel("Your question")).toHaveValue("");
  await expect(page.getByRole("status").filter({ hasText: "what is he wearing?" })).toBeAttached();
  await page.getByLabel("Your question").fill("what is he looking at?");
  await look(page, "asked");

  const said = await answers.allTextContents();
  await page.reload();
  await expect(answers).toHaveCount(3);
  expect(await answers.allTextContents()).toEqual(said);
  await expect(page.getByLabel("Your question")).toHaveValue("what is he looking at?");

  await page.getByRole("button", { name: "Clear the conversation" }).click();
  await expect(answers).toHaveCount(0);
  await page.getByRole("button", { name: "How many people are there?" }).click();
  await expect(page.getByText("Answered from cache")).toBeVisible();
});

test("each picture has a conversation of its own", async ({ page }) => {
  await open(page, "/#ask");
  await choose(page, sample("camera.jpg"), sample("chelsea.jpg"));
  const pictures = page.getByRole("list", { name: "Picture" });
  await expect(pictures.getByRole("button")).toHaveCount(2);
  await page.getByRole("button", { name: "What colour is it?" }).click();
  await expect(page.locator("[data-answer]")).toHaveCount(1);
  await pictures.getByRole("button", { name: "Ask about camera.jpg" }).click();
  await expect(page.locator("[data-answer]")).toHaveCount(0);
  await page.getByRole("button", { name: "Ask all of these" }).click();
  await expect(page.locator("[data-answer]")).toHaveCount(5);
  await look(page, "asked-all");
  await page.getByRole("link", { name: "Describe" }).click();
  await expect(page.getByRole("article")).toHaveCount(2);
  await expect(page.getByRole("article", { name: "camera.jpg" }).locator('[data-caption="done"]')).toBeVisible();
});
