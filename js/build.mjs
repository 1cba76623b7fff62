// Bundle the page into the Python package: one ES module and one style sheet, nothing split off and nothing fetched,
// because the module is imported from a blob URL, against which no relative address can be resolved.

import { build } from "esbuild";

await build({
  entryPoints: { widget: "src/index.js" },
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  legalComments: "eof",
  outdir: "../landscape_widget/view/static",
  logLevel: "info",

  // Notebooks evaluate the bundle once per widget, and three.js would warn of each copy; nothing is shared between them.
  define: { "window.__THREE__": "false" },
  logOverride: { "assign-to-define": "silent" },
});

await build({
  entryPoints: { widget: "src/style.css" },
  bundle: true,
  minify: true,
  outdir: "../landscape_widget/view/static",
  logLevel: "info",
});
