import { caption, card, choose, expect, look, open, sample, test } from "./page";
import { KEY, LOCKED } from "./places";
import { Proxy } from "./proxy";

let proxy: Proxy;
test.beforeEach(async () => {
  proxy = await new Proxy().start();
});
test.afterEach(() => proxy.stop());

test("the model and the queue are told, and what mini cannot do", async ({ page }) => {
  await open(page);
  await page.getByRole("button", { name: /Service and model/ }).click();
  const dialog = page.getByRole("dialog", { name: "Service and model" });
  await expect(dialog).toContainText("mini is small and learned from 6,000 photos of people and dogs");
  await expect(dialog).toContainText("0 pictures in the queue");
  await look(page, "status");
});

test("a key: asked for, refused, taken, and after it has expired asked for again, with nothing lost", async ({ page }) => {
  await open(page, `${LOCKED}/`);
  const dialog = page.getByRole("dialog", { name: "Sign in" });
  await expect(dialog).toBeVisible();
  await expect(dialog.getByLabel("API key")).toBeFocused();
  await look(page, "sign-in");
  await dialog.getByLabel("API key").fill("ob_wrong");
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await expect(dialog.getByRole("alert")).toHaveText("The service does not know this key.");
  await dialog.getByLabel("API key").fill(KEY);
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByRole("button", { name: /Service and model/ })).toContainText("ready");
  await choose(page, sample("camera.jpg"));
  await expect(caption(card(page, "camera.jpg"))).toBeVisible();

  await page.evaluate(() => sessionStorage.setItem("openblip.key", "ob_expired"));
  await page.getByLabel("Let every caption begin with").fill("a photo of");
  await page.getByRole("button", { name: "Describe again" }).click();
  await expect(dialog).toBeVisible();
  await dialog.getByLabel("API key").fill(KEY);
  await page.keyboard.press("Enter");
  await expect(caption(card(page, "camera.jpg"))).toHaveText(/^a photo of/);
  await expect(page.getByLabel("Let every caption begin with")).toHaveValue("a photo of");
});

test("too many requests: the wait is shown, and all are answered in the end", async ({ page }) => {
  await page.addInitScript((key) => sessionStorage.setItem("openblip.key", key), KEY);
  await open(page, `${LOCKED}/#ask`);
  await choose(page, sample("camera.jpg"));
  for (const number of Array.from({ length: 14 }, (_, each) => each)) {
    await page.getByLabel("Your question").fill(`what is he holding in hand ${number}?`);
    await page.keyboard.press("Enter");
  }
  await page.getByLabel("Your question").fill("this stays");
  await expect(page.getByText("The service is busy").first()).toBeVisible();
  await expect(page.getByText(/Trying again in \d+ s\./).first()).toBeVisible();
  await look(page, "busy");
  await expect(page.locator("[data-answer]")).toHaveCount(14, { timeout: 25_000 });
  await expect(page.getByText("The service is busy")).toHaveCount(0);
  await expect(page.getByLabel("Your question")).toHaveValue("this stays");
});

test("a service that dies in mid-stream: what had come stays, and it can be asked again", async ({ page }) => {
  await open(page, `${proxy.url}/`);
  await choose(page, sample("camera.jpg"));
  const first = card(page, "camera.jpg");
  await expect(caption(first)).toHaveText(/^a man .+/);
  const begin = `a man ${Date.now() % 100_000}`; // what was never asked is not in the cache
  await page.getByLabel("Let every caption begin with").fill(begin);
  proxy.cutAfter = 250;
  await page.getByRole("button", { name: "Describe again" }).click();
  await expect(first.getByText("The connection broke off")).toBeVisible();
  await expect(first.locator('[data-caption="growing"]')).toHaveText(new RegExp(`^${begin}`));
  await expect(first.getByText("Unfinished")).toBeVisible();
  await look(page, "broken");
  proxy.cutAfter = null;
  await first.getByRole("button", { name: "Try again" }).click();
  await expect(caption(first)).toHaveText(new RegExp(`^${begin}`));
  await expect(first.getByText("The connection broke off")).toBeHidden();
});

test("a service that is gone and comes back: nothing typed is lost, and it goes on by itself", async ({ page }) => {
  await open(page, `${proxy.url}/#ask`);
  await choose(page, sample("camera.jpg"));
  await expect(page.getByLabel("Your question")).toBeVisible();
  await proxy.stop();
  await page.getByRole("button", { name: "How many people are there?" }).click();
  await page.getByLabel("Your question").fill("what else?");
  await expect(page.getByText("The service cannot be reached")).toBeVisible();
  await expect(page.getByRole("button", { name: /Service and model/ })).toContainText("not reachable");
  await look(page, "gone");
  await proxy.restart();
  await expect(page.locator("[data-answer]")).toContainText(/one/);
  await expect(page.getByLabel("Your question")).toHaveValue("what else?");
  await expect(page.getByRole("button", { name: /Service and model/ })).toContainText("ready");
});

test("offline, and back", async ({ page, context }) => {
  await open(page, "/#ask");
  await choose(page, sample("camera.jpg"));
  await context.setOffline(true);
  await page.getByRole("button", { name: "How many people are there?" }).click();
  await expect(page.getByText("You are offline")).toBeVisible();
  await expect(page.getByRole("button", { name: /Service and model/ })).toContainText("offline");
  await context.setOffline(false);
  await expect(page.locator("[data-answer]")).toContainText(/one/);
});

test("a model that is still being loaded", async ({ page }) => {
  const loading = { status: 503, "retry-after": "1", "content-type": "application/problem+json" };
  let isLoading = true;
  proxy.handle = (asked, answer, pass) => {
    if (!isLoading || !/^\/(v1|readyz)/.test(asked.url ?? "")) return pass();
    answer.writeHead(503, loading);
    answer.end('{"status": 503, "detail": "the model is not loaded yet", "code": "not_ready"}');
  };
  await page.goto(`${proxy.url}/`);
  await expect(page.getByRole("button", { name: /Service and model/ })).toContainText("loading the model");
  await choose(page, sample("camera.jpg"));
  await expect(page.getByText("The model is still being loaded")).toBeVisible();
  isLoading = false;
  await expect(caption(card(page, "camera.jpg"))).toBeVisible();
  await expect(page.getByRole("button", { name: /Service and model/ })).toContainText("ready");
});

test("a picture that the service cannot use, and one that fails", async ({ page }) => {
  await open(page, `${proxy.url}/`);
  proxy.handle = (asked, answer, pass) => {
    if (asked.url !== "/v1/caption") return pass();
    answer.writeHead(500, { "content-type": "text/html" });
    answer.end("<h1>oops</h1>");
  };
  await choose(page, { name: "cut.tiff", mimeType: "image/tiff", buffer: Buffer.from("II*\0 no picture at all") } as never);
  await expect(card(page, "cut.tiff")).toContainText("Something went wrong in the service");
  proxy.handle = (asked, answer, pass) => pass();
  await card(page, "cut.tiff").getByRole("button", { name: "Try again" }).click();
  await expect(card(page, "cut.tiff")).toContainText("The service could not use this");
  await expect(card(page, "cut.tiff")).toContainText("This browser cannot show the file");
  await look(page, "refused");
});
