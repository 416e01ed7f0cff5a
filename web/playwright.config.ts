import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { defineConfig, devices } from "@playwright/test";

import { KEYS_FILE, OPEN_PORT, LOCKED_PORT, PHONE, PHONE_PORT } from "./browser/places";

const PYTHON = process.env.OPENBLIP_PYTHON ?? "../.venv/bin/python";
const CACHES = join(tmpdir(), `openblip-browser-${process.getuid?.() ?? 0}`);
mkdirSync(CACHES, { recursive: true });

// `python -m openblip key` writes such a line; this key opens nothing but the service of these tests.
writeFileSync(join(CACHES, "keys"), KEYS_FILE);

const service = (port: number, environment: Record<string, string>) => ({
  command: `${PYTHON} -m openblip serve --port ${port}`,
  url: `http://127.0.0.1:${port}/readyz`,
  env: {
    OPENBLIP_CACHE: join(CACHES, "compiled"),
    OPENBLIP_CACHE_FOLDER: join(CACHES, `results-${process.pid}-${port}`),
    OPENBLIP_THREADS: "1",
    OPENBLIP_LOG_LEVEL: "warning",
    ...environment,
  },
  timeout: 120_000,
  reuseExistingServer: false,
});

const library = (port: number) => ({ OPENBLIP_LIBRARY: join(CACHES, `library-${process.pid}-${port}.lance`) });

/** The page against the real service with mini, in Debian's Chromium. */
export default defineConfig({
  testDir: "browser",
  outputDir: "test-results",
  workers: 2,
  fullyParallel: true,
  forbidOnly: !!process.env.CI,
  retries: 1, // a machine that is busy elsewhere: what passes in the second try is reported as flaky
  timeout: 45_000,
  expect: { timeout: 15_000 },
  reporter: [["list"]],
  use: {
    baseURL: `http://127.0.0.1:${OPEN_PORT}`,
    locale: "en-GB",
    trace: "off",
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
  projects: [
    { name: "desktop", use: { viewport: { width: 1280, height: 800 } } },
    {
      name: "phone",
      use: { ...devices["Pixel 7"], viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, baseURL: PHONE },
      testIgnore: /hostile|service/,
      grepInvert: /a service in trouble/, // once is enough
    },
  ],
  webServer: [
    service(OPEN_PORT, library(OPEN_PORT)),
    service(PHONE_PORT, library(PHONE_PORT)), // each width fills and empties a library of its own
    service(LOCKED_PORT, { OPENBLIP_API_KEYS: join(CACHES, "keys"), OPENBLIP_RATE: "12/5seconds" }),
  ],
});
