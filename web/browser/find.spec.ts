import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";

import type { Locator, Page } from "@playwright/test";

import { caption, drop, expect, look, open, sample, test } from "./page";
import { KEY, LOCKED } from "./places";
import { Proxy } from "./proxy";

test.describe.configure({ mode: "serial" }); // a library is filled, searched and emptied

const PHOTOS = ["camera.jpg", "chelsea.jpg", "astronaut.jpg", "coffee.jpg"];

const tiles = (page: Page): Locator => page.getByRole("listitem").filter({ has: page.getByRole("article") });
const pictures = (page: Page): Locator => tiles(page).locator("img");
const content = (name: string) => ({ name, type: "image/jpeg", body: readFileSync(sample(name)) });

test("an empty library says how to fill it, and is filled by dropping pictures", async ({ page, request }) => {
  const { images } = await (await request.get("/v1/images")).json(); // of a try before this one
  for (const { id } of images) await request.delete(`/v1/images/${id}`);
  await open(page, "/#find");
  await expect(page.getByRole("heading", { name: "The library is empty" })).toBeVisible();
  await expect(page.getByText("openblip index ~/Pictures --db photos.lance")).toBeVisible();
  await look(page, "library-empty");
  await drop(page, [...PHOTOS.map(content), { name: "notes.txt", type: "text/plain", body: Buffer.from("no picture") }]);
  await expect(page.getByText("Not a picture that can be used: notes.txt")).toBeVisible();
  await expect(page.getByText("4 pictures were added to the library.")).toHaveCount(2); // seen, and said
  await expect(pictures(page)).toHaveCount(4);
  await expect(page.getByText("4 pictures in the library")).toBeVisible();
  await expect(page.getByRole("article", { name: /^a man / }).first()).toBeVisible();
  await drop(page, [content("camera.jpg"), { name: "broken.jpg", type: "image/jpeg", body: Buffer.from("no picture") }]);
  await expect(page.getByText("broken.jpg", { exact: true })).toBeVisible();
  await expect(page.getByText("The service could not use this")).toBeVisible();
  await expect(page.getByText(/4 pictures were added to the library, 1 was there already\. 1 could not be added\./).first()).toBeVisible();
  await look(page, "library-added");
});

test("words find pictures, and what was looked at again says how sure it is", async ({ page }) => {
  await open(page, "/#find");
  await page.getByLabel("What the picture shows").fill("a man with a camera");
  await page.keyboard.press("Enter");
  await expect(page.getByText("4 pictures found", { exact: true }).first()).toBeVisible();
  await expect(page.getByText(/The best \d were looked at again in \d+ ms/)).toBeVisible();
  await expect(tiles(page).first().getByRole("meter", { name: "How well the words fit" })).toHaveAttribute("aria-valuenow", /\d+/);
  await expect(pictures(page)).toHaveCount(4);
  await page.getByText("Filter and options").click();
  await page.getByLabel("Only pictures where").fill("width >");
  await page.getByRole("button", { name: "Find", exact: true }).click();
  await expect(page.getByText("The service could not use this")).toBeVisible();
  await page.getByLabel("Only pictures where").fill("width > 100000");
  await page.keyboard.press("Enter");
  await expect(page.getByText("Nothing was found.").first()).toBeVisible();
  await page.getByLabel("Only pictures where").fill("width > 100");
  await page.getByLabel("Look for the words in captions too").check();
  await page.getByRole("button", { name: "Find", exact: true }).click();
  await expect(pictures(page)).toHaveCount(4);
  await look(page, "found");
  await page.reload();
  await expect(page.getByLabel("What the picture shows")).toHaveValue("a man with a camera");
  await expect(pictures(page)).toHaveCount(4);
  await page.getByRole("button", { name: "Show all" }).click();
  await expect(page.getByText("4 pictures in the library")).toBeVisible();
});

test("a picture finds pictures: chosen, dropped over the search, or one of the library", async ({ page }) => {
  await open(page, "/#find");
  await page.getByRole("search").locator('[data-intake="files"]').setInputFiles(sample("chelsea.jpg"));
  await expect(page.getByText("Like the picture chelsea.jpg")).toBeVisible();
  await expect(tiles(page).first()).toContainText(/Similarity (1\.00|0\.9\d)/);
  await page.getByLabel("What the picture shows").fill("a cup");
  await page.getByText("Filter and options").click();
  await page.getByText("Words", { exact: true }).click();
  await page.getByRole("button", { name: "Find", exact: true }).click();
  await expect(page.getByText(/4 pictures found/).first()).toBeVisible();
  await look(page, "found-by-picture");
  await page.getByRole("button", { name: "No longer by this picture" }).click();
  await page.getByRole("button", { name: "Show all" }).click();
  await tiles(page).first().getByRole("button", { name: /^Find pictures like this one/ }).click();
  await expect(page.getByText(/^Looking for pictures like this one: /)).toBeVisible();
  await expect(pictures(page)).toHaveCount(3); // all but itself
});

test("with the keyboard alone: searched, opened in Describe, and taken out after asking", async ({ page }) => {
  await open(page, "/#find");
  await page.getByLabel("What the picture shows").focus();
  await page.keyboard.type("a cup of coffee");
  await page.keyboard.press("Enter");
  await expect(page.getByText("4 pictures found", { exact: true }).first()).toBeVisible();
  const press = async (name: RegExp) => {
    for (let steps = 0; steps < 40; steps++) {
      await page.keyboard.press("Tab");
      const words = await page.locator(":focus").evaluate((e) => e.getAttribute("aria-label") ?? e.textContent ?? "");
      if (name.test(words)) return await page.keyboard.press("Enter");
    }
    throw new Error(`Tab never comes to ${String(name)}`);
  };
  await press(/^Open in Describe/);
  await expect(page.getByRole("heading", { name: "Describe pictures" })).toBeVisible();
  await expect(caption(page.getByRole("article").first())).toBeVisible();
  await page.getByRole("link", { name: "Find" }).click();
  await expect(page.getByLabel("What the picture shows")).toHaveValue("a cup of coffee");
  await page.getByLabel("What the picture shows").focus();
  await press(/^Take out of the library/);
  const dialog = page.getByRole("dialog", { name: "Take it out of the library?" });
  await expect(dialog.getByRole("button", { name: "Keep it" })).toBeFocused();
  await look(page, "take-out");
  await page.keyboard.press("Enter");
  await expect(dialog).toBeHidden();
  await expect(pictures(page)).toHaveCount(4);
  await page.keyboard.press("Enter");
  await press(/^Take it out$/);
  await expect(dialog).toBeHidden();
  await expect(pictures(page)).toHaveCount(3);
  await expect(page.getByRole("status").filter({ hasText: /^Taken out: / })).toBeAttached();
});

const IMAGE = { size: 1, taken: null, modified: "2026-01-01T00:00:00Z", sha256: "", width: 640, height: 480 };
const HTML = '<b>bold</b> <img src=x onerror="alert(2)"> <script>alert(2)</script>';
const identity = (number: number) => number.toString(16).padStart(20, "0");

/** A library of this many pictures, which the real service has no files for. */
function libraryOf(count: number, words: (number: number) => string) {
  return (asked: IncomingMessage, answer: ServerResponse, pass: () => void) => {
    const address = new URL(asked.url ?? "", "http://x");
    if (address.pathname !== "/v1/images") return pass();
    const after = parseInt(address.searchParams.get("after") || "0", 16);
    const limit = Number(address.searchParams.get("limit"));
    const numbers = Array.from({ length: count }, (_, place) => place + 1).filter((each) => each > after).slice(0, limit);
    const images = numbers.map((number) => {
      const place = `/v1/images/${identity(number)}`;
      const names = { id: identity(number), name: words(number), caption: words(number) };
      return { ...IMAGE, ...names, thumbnail: `${place}/thumbnail`, picture: `${place}/picture` };
    });
    const last = numbers.at(-1) ?? count;
    answer.writeHead(200, { "content-type": "application/json" });
    answer.end(JSON.stringify({ images, after: last < count ? identity(last) : "", total: count }));
  };
}

test.describe("a service in trouble", () => {
  let proxy: Proxy;
  test.beforeEach(async () => {
    proxy = await new Proxy().start();
  });
  test.afterEach(() => proxy.stop());

  test("captions with HTML in them are text; a picture whose file is gone says so", async ({ page }) => {
    proxy.handle = (asked, answer, pass) => {
      if (!/(thumbnail|picture)$/.test(asked.url ?? "")) return libraryOf(2, (number) => `${HTML} ${number}`)(asked, answer, pass);
      answer.writeHead(404, { "content-type": "application/problem+json" });
      answer.end('{"status": 404, "detail": "the file of 1 is gone: index again", "code": "picture_gone"}');
    };
    let alerts = 0;
    page.on("dialog", (dialog) => void (alerts++, dialog.dismiss()));
    await open(page, `${proxy.url}/#find`);
    await expect(tiles(page).first()).toContainText("<b>bold</b> <img src=x");
    await expect(tiles(page).first()).toContainText("The file is gone");
    await tiles(page).first().getByRole("button", { name: /^Open in Describe/ }).click();
    await expect(page.getByRole("alert").filter({ hasText: "the file of 1 is gone" })).toBeVisible();
    await look(page, "library-hostile");
    expect(alerts).toBe(0);
    expect(await page.locator("main b, main script, main [onerror]").count()).toBe(0);
  });

  test("a large library is fetched as one scrolls, and only what is near is there", async ({ page }) => {
    const asked: string[] = [];
    page.on("request", (request) => void asked.push(request.url()));
    proxy.handle = libraryOf(500, (number) => `picture ${number}`);
    await open(page, `${proxy.url}/#find`);
    await expect(page.getByText("500 pictures in the library")).toBeVisible();
    await expect(tiles(page).first()).toHaveAttribute("aria-posinset", "1");
    expect(asked.filter((url) => url.includes("/v1/images?")).length).toBe(1);
    await expect(async () => {
      await page.mouse.wheel(0, 20_000);
      await expect(page.getByRole("article", { name: "picture 500" })).toBeVisible({ timeout: 500 });
    }).toPass();
    expect(asked.filter((url) => url.includes("/v1/images?")).length).toBe(9);
    expect(await tiles(page).count()).toBeLessThan(60);
    await expect(tiles(page).last()).toHaveAttribute("aria-setsize", "500");
  });

  test("no library: how to start the service with one; a library that cannot be read: tried again", async ({ page }) => {
    const problem = (status: number, code: string) => (asked: IncomingMessage, answer: ServerResponse, pass: () => void) => {
      if (!asked.url?.startsWith("/v1/images")) return pass();
      answer.writeHead(status, { "content-type": "application/problem+json", "retry-after": "3" });
      answer.end(JSON.stringify({ status, code, detail: "the library cannot be read or written now" }));
    };
    proxy.handle = problem(503, "library");
    await open(page, `${proxy.url}/#find`);
    await expect(page.getByText("The library cannot be used now")).toBeVisible();
    await expect(page.getByText(/Trying again in \d+ s\./).first()).toBeVisible();
    proxy.handle = (asked, answer, pass) => pass();
    await expect(pictures(page)).toHaveCount(3);
    await proxy.stop();
    await page.getByLabel("What the picture shows").fill("a dog");
    await page.keyboard.press("Enter");
    await expect(page.getByText("The service cannot be reached")).toBeVisible();
    await proxy.restart();
    await expect(page.getByText("3 pictures found", { exact: true }).first()).toBeVisible();
    await expect(page.getByLabel("What the picture shows")).toHaveValue("a dog");
  });

  test("a service without a library, behind a key", async ({ page }) => {
    await open(page, `${LOCKED}/#find`);
    const dialog = page.getByRole("dialog", { name: "Sign in" });
    await dialog.getByLabel("API key").fill(KEY);
    await page.keyboard.press("Enter");
    await expect(page.getByRole("heading", { name: "This service has no photo library" })).toBeVisible();
    await expect(page.getByText("OPENBLIP_LIBRARY=photos.lance openblip serve")).toBeVisible();
    await look(page, "library-none");
  });

  test("thumbnails carry the key, and wait when there are too many requests", async ({ page }) => {
    const keys: (string | undefined)[] = [];
    proxy.handle = (asked, answer, pass) => {
      if (!asked.url?.includes("/thumbnail")) return pass();
      keys.push(asked.headers.authorization);
      if (keys.length > 2) return pass();
      answer.writeHead(429, { "content-type": "application/problem+json", "retry-after": "1" });
      answer.end('{"status": 429, "code": "rate", "detail": "too many"}');
    };
    await page.addInitScript((key) => sessionStorage.setItem("openblip.key", key), KEY);
    await open(page, `${proxy.url}/#find`);
    await expect(pictures(page)).toHaveCount(3);
    expect(keys.length).toBeGreaterThanOrEqual(5);
    expect(new Set(keys)).toEqual(new Set([`Bearer ${KEY}`]));
  });
});
