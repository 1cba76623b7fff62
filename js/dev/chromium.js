// Which browser tests and pictures use.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The browser named by CHROMIUM, or the first of the usual names on the path. */
export function findChromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH ?? "").split(delimiter);
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
  if (!found)
    throw new Error("expected a Chromium on PATH or in CHROMIUM, got none: install one (Debian: apt install chromium)");
  return found;
}
