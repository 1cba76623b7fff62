// Tests run in the real browser, on software rendering: pixels, contexts and focus are what the page is about.

import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";
import { findChromium } from "./dev/chromium.js";

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
