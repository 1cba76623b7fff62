import { expect, test } from "vitest";
import { makeGrid, sendGrid } from "../dev/model.js";
import { mount, painted, until } from "./harness.js";

test("follows JupyterLab's theme while it changes", async () => {
  const style = document.createElement("style");
  style.textContent = "body.test-dark { --jp-layout-color0: rgb(17, 17, 17); --jp-ui-font-color0: rgb(255, 255, 255) }";
  document.head.append(style);
  const { root, page, model } = mount();
  sendGrid(model, makeGrid({ rows: 9, columns: 9 }));
  await painted(root);
  expect(root.dataset.theme).toBe("light");
  expect(page.theme.dark).toBe(false);
  const ink = getComputedStyle(root).color;

  document.body.className = "test-dark";
  await until(() => expect(root.dataset.theme).toBe("dark"));
  expect(page.theme.dark).toBe(true);
  expect(getComputedStyle(root).color).toBe("rgb(255, 255, 255)");
  expect(page.theme.background).toBe("rgb(17, 17, 17)");

  document.body.className = "";
  await until(() => expect(root.dataset.theme).toBe("light"));
  expect(getComputedStyle(root).color).toBe(ink);
  style.remove();
});

test("a dark page without any variables is dark too, also around a shadow root", async () => {
  const host = document.createElement("div");
  host.style.background = "#101418";
  document.body.append(host);
  const { root, model } = mount({}, { into: host.attachShadow({ mode: "open" }) });
  expect(root.dataset.theme).toBe("dark");
  sendGrid(model, makeGrid({ rows: 9, columns: 9 }));
  await painted(root);
  host.remove();
});

test("a host that attaches the element after render gets its theme and its layout", async () => {
  const host = document.createElement("div");
  host.style.background = "#101418";
  document.body.append(host);
  const { root, model } = mount({}, { into: document.createDocumentFragment(), width: 1000 });
  sendGrid(model, makeGrid({ rows: 9, columns: 9 }));
  expect(root.dataset.theme).toBe("light");
  host.append(root.parentElement);
  await painted(root);
  await until(() => expect(root.dataset.theme).toBe("dark"));
  await until(() => expect(root.classList.contains("lw-wide")).toBe(true));
  host.remove();
});
