import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";

import type { Page } from "@playwright/test";

import { caption, card, choose, drop, expect, look, open, sample, test } from "./page";
import { Proxy } from "./proxy";

/** A picture of any size and content, drawn by the browser itself. */
async function drawn(page: Page, width: number, height: number): Promise<Buffer> {
  const content = await page.evaluate(
    async ([wide, high]) => {
      const canvas = new OffscreenCanvas(wide as number, high as number);
      const context = canvas.getContext("2d")!;
      const blend = context.createLinearGradient(0, 0, wide as number, high as number);
      blend.addColorStop(0, "steelblue");
      blend.addColorStop(1, "peachpuff");
      context.fillStyle = blend;
      context.fillRect(0, 0, wide as number, high as number);
      const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg" })).arrayBuffer());
      return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    },
    [width, height],
  );
  return Buffer.from(content, "base64");
}

const HTML = '<b>bold</b> <img src=x onerror="alert(2)"> <script>alert(2)</script>';

/** What a service says that has learned from a hostile web: HTML, and a word without an end. */
function hostileAnswers(asked: IncomingMessage, answer: ServerResponse, pass: () => void): void {
  const text = `${HTML} ${"endless".repeat(40)}`;
  const probabilities = { log_probability: -1, probability: 0.5, model: "mini" };
  const caption = { text, tokens: [], token_probabilities: [], ...probabilities };
  if (asked.url === "/v1/caption") {
    answer.writeHead(200, { "content-type": "text/event-stream" });
    const piece = JSON.stringify({ text, tokens: [], token_probabilities: [] });
    answer.end(`event: piece\ndata: ${piece}\n\nevent: caption\ndata: ${JSON.stringify(caption)}\n\n`);
  } else if (asked.url === "/v1/answer") {
    const found = { question: "", text, others: [[HTML, 0.1]], ...probabilities };
    answer.writeHead(200, { "content-type": "application/json" });
    answer.end(JSON.stringify({ model: HTML, revision: "", results: [{ captions: [], answers: [found], cached: false }] }));
  } else pass();
}

test("hostile names, prompts, captions and answers are shown as they are and do nothing", async ({ page }) => {
  const proxy = await new Proxy().start();
  proxy.handle = hostileAnswers;
  let alerts = 0;
  page.on("dialog", (dialog) => void (alerts++, dialog.dismiss()));
  await open(page, `${proxy.url}/`);
  const name = '"><img src=x onerror=alert(1)>\u202egpj.exe\n' + "very long ".repeat(20) + ".jpg";
  await choose(page, { name, mimeType: "image/jpeg", buffer: readFileSync(sample("camera.jpg")) } as never);
  const first = page.getByRole("article");
  await expect(caption(first)).toContainText(HTML);
  await expect(first.getByRole("heading")).toContainText('"><img src=x onerror=alert(1)>gpj.exe');
  await page.getByLabel("Let every caption begin with").fill(HTML);
  await page.getByRole("button", { name: "Describe again" }).click();
  await expect(caption(first)).toContainText(HTML);
  await look(page, "hostile");
  await first.getByRole("button", { name: "Ask about it" }).click();
  await page.getByLabel("Your question").fill(`${HTML}${" why".repeat(60)}`);
  await page.keyboard.press("Enter");
  await expect(page.locator("[data-answer]")).toContainText(HTML);
  await look(page, "hostile-question");
  expect(alerts).toBe(0);
  expect(await page.locator("main b, main script, main [onerror]").count()).toBe(0);
  await proxy.stop();
});

test("40 megapixels are made smaller before they are sent; a panorama and a tower keep their shape", async ({ page }) => {
  await open(page);
  const large = await drawn(page, 8000, 5000);
  const sizes: number[] = [];
  page.on("request", (request) => {
    if (request.url().endsWith("/v1/caption")) sizes.push(Number(request.headers()["content-length"] ?? request.postDataBuffer()?.length));
  });
  await choose(page, { name: "large.jpg", mimeType: "image/jpeg", buffer: large } as never);
  await expect(caption(card(page, "large.jpg"))).toBeVisible();
  await expect(card(page, "large.jpg")).toContainText("Sent as 1229 × 768, from 8000 × 5000");
  expect(large.length).toBeGreaterThan(400_000);
  for (const size of sizes.filter(Number.isFinite)) expect(size).toBeLessThan(200_000);
  await choose(
    page,
    { name: "wide.jpg", mimeType: "image/jpeg", buffer: await drawn(page, 3000, 200) } as never,
    { name: "tall.jpg", mimeType: "image/jpeg", buffer: await drawn(page, 150, 2600) } as never,
  );
  await expect(caption(card(page, "wide.jpg"))).toBeVisible();
  await expect(caption(card(page, "tall.jpg"))).toBeVisible();
  await look(page, "shapes");
});

test("a dropped folder, and files that are no pictures", async ({ page }, info) => {
  await open(page);
  const folder = join(info.outputPath(), "holiday");
  mkdirSync(join(folder, "deeper"), { recursive: true });
  copyFileSync(sample("camera.jpg"), join(folder, "b.jpg"));
  copyFileSync(sample("chelsea.jpg"), join(folder, "deeper", "c.jpg"));
  writeFileSync(join(folder, "notes.txt"), "no picture");
  writeFileSync(join(folder, ".hidden.jpg"), "no picture");
  const client = await page.context().newCDPSession(page);
  const data = { items: [], files: [folder], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"] as const) {
    await client.send("Input.dispatchDragEvent", { type, x: 300, y: 300, data });
  }
  await expect(caption(card(page, "b.jpg"))).toBeVisible();
  await expect(caption(card(page, "c.jpg"))).toBeVisible();
  await expect(page.getByRole("article")).toHaveCount(2);
  await expect(page.getByText("Not a picture that can be used: notes.txt")).toBeVisible();
  await look(page, "folder");
  await page.getByRole("button", { name: "Dismiss" }).click();
  await drop(page, [{ name: "page.svg", type: "image/svg+xml", body: Buffer.from("<svg/>") }]);
  await expect(page.getByText("Not a picture that can be used: page.svg")).toBeVisible();
  await expect(page.getByRole("article")).toHaveCount(2);
});
