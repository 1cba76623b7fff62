// Tests run in the real browser, on software rendering: pixels, contexts and focus are what the page is about.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";

/** The browser named by CHROMIUM, or the first of the usual names on the path. */
function findChromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH ?? "").split(delimiter);
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
  if (!found)
    throw new Error("expected a Chromium on PATH or in CHROMIUM, got none: install one (Debian: apt install chromium)");
  return found;
}

export default defineConfig({
  server: { host: "127.0.0.1" },
  optimizeDeps: { include: ["three", "three/addons/controls/OrbitControls.js", "axe-core"] },
  test: {
    include: ["test/*.test.js"],
    testTimeout: 60_000,

    // Focus and graphics contexts belong to a page: one file after the other.
    fileParallelism: false,
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      viewport: { width: 1200, height: 900 },
      api: { host: "127.0.0.1" },
      provider: playwright({
        launchOptions: {
          executablePath: findChromium(),
          args: [
            "--no-sandbox",
            "--disable-quic",
            "--disable-background-networking",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
          ],
        },
      }),
      instances: [{ browser: "chromium" }],
    },
  },
});
