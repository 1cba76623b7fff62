// Pictures of the page in many states, to be looked at: node dev/shots.mjs FOLDER [name …]

import { mkdirSync } from "node:fs";
import { chromium } from "playwright";
import { createServer } from "vite";
import { findChromium } from "./chromium.js";

const [folder = "shots", ...names] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

const SHOTS = {
  light: ["?", 1200, 720],
  dark: ["?theme=dark", 1200, 720],
  "narrow-light": ["?", 480, 1250],
  "narrow-dark": ["?theme=dark&scene=survey", 480, 1250],
  survey: ["?scene=survey", 1200, 720],
  coarse: ["?scene=coarse&progress=0.01", 1200, 720],
  partial: ["?scene=partial", 1200, 720],
  holes: ["?scene=holes&saddles=0", 1200, 720],
  hill: ["?scene=hill", 1200, 720],
  log: ["?scene=log", 1200, 720],
  strong: ["?saddles=1", 1200, 720],
  off: ["?saddles=0&contours=false", 1200, 720],
  magma: ['?colormap="magma"&theme=dark', 1200, 720],
  cividis: ['?colormap="cividis"', 1200, 720],
  greys: ['?colormap="greys"&saddles=1', 1200, 720],
  top: ["?view=top", 1200, 720],
  front: ["?view=front", 1200, 720],
  side: ["?view=side&theme=dark", 1200, 720],
  empty: ["?scene=empty", 1200, 720],
  "empty-dark": ["?scene=empty&theme=dark", 900, 720],
  saved: ["?scene=saved", 1200, 720],
  error: [
    '?error="The loss at θ* is not a number: expected a finite loss, got nan. Check the data."&status="error"',
    1200,
    720,
  ],
  flat: ["?flat", 1200, 720],
  "flat-dark": ["?flat&theme=dark&scene=holes&saddles=0", 800, 720],
  middle: ["?", 800, 1000],
  huge: ["?height=640", 1400, 900],
};

const server = await createServer({
  root: new URL("..", import.meta.url).pathname,
  server: { host: "127.0.0.1", port: 0 },
  logLevel: "error",
});
await server.listen();
const { port } = server.httpServer.address();
const browser = await chromium.launch({
  executablePath: findChromium(),
  args: [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
  ],
});
for (const [name, [query, width, height]] of Object.entries(SHOTS)) {
  if (names.length > 0 && !names.includes(name)) continue;
  const page = await browser.newPage({
    viewport: { width, height },
    deviceScaleFactor: name === "light" || name === "dark" ? 2 : 1,
  });
  page.on("console", (message) => message.type() !== "debug" && console.log(name, message.type(), message.text()));
  page.on("pageerror", (error) => console.log(name, error.message));
  await page.goto(`http://127.0.0.1:${port}/dev/${query}`);
  await page.waitForFunction(
    () => globalThis.root && (globalThis.root.dataset.painted !== undefined || location.search.includes("empty")),
  );
  await page.waitForTimeout(300);
  await page.screenshot({ path: `${folder}/${name}.png` });
  await page.close();
}
await browser.close();
await server.close();
