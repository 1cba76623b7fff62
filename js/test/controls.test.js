import { expect, test } from "vitest";
import { userEvent } from "vitest/browser";
import { CATALOG, direction, makeGrid, sendGrid } from "../dev/model.js";
import { mount, painted, settle, slide, until } from "./harness.js";

/** The parameters of the newest message, once it was sent. */
const asked = ({ model }, count = 1) =>
  until(() => {
    expect(model.sentOf("set").length).toBeGreaterThanOrEqual(count);
    return model.sentOf("set").at(-1).params;
  });

test("each slider asks for what it shows", async () => {
  const view = mount();
  slide(view.control("x direction"), 2);
  slide(view.control("resolution"), 5);
  slide(view.control("saddle highlighting"), 20);
  expect(await asked(view)).toEqual({
    direction_x: "largest-3",
    direction_y: "smallest-1",
    resolution: 129,
    saddles: 1,
  });
  await settle();
  expect(view.control("x direction").getAttribute("aria-valuetext")).toContain("3rd largest curvature");
  expect(view.control("resolution").getAttribute("aria-valuetext")).toBe("129 by 129");
});

test("choosing the other axis's direction swaps the two", async () => {
  const view = mount();
  slide(view.control("x direction"), 4);
  expect(await asked(view)).toEqual({ direction_x: "smallest-1", direction_y: "largest-1" });
  await settle();
  slide(view.control("y direction"), 4);
  await until(() =>
    expect(view.model.sentOf("set").at(-1).params).toEqual({ direction_x: "largest-1", direction_y: "smallest-1" }),
  );
});

test("buttons, boxes and the colour map ask for their traits", async () => {
  const view = mount();
  view.control("wide").click();
  view.control("twice the range").click();
  view.control("twice the range").click();
  view.control("log scale").click();
  view.control("contours").click();
  view.control("stop").click();
  await userEvent.selectOptions(view.control("colormap"), "cividis");
  await until(() => expect(view.model.sentOf("set").at(-1).params.colormap).toBe("cividis"));
  expect(view.model.sentOf("set").at(-1).params).toEqual({
    window: "wide",
    zoom: 2,
    log_scale: true,
    contours: false,
    running: false,
    colormap: "cividis",
  });
  expect(view.control("wide").getAttribute("aria-pressed")).toBe("true");
  expect(view.control("saddle window").getAttribute("aria-pressed")).toBe("false");
  expect(view.control("continue").textContent).toBe("Continue");
});

test("a change from Python moves the controls", async () => {
  const view = mount();
  view.model.set("resolution", 9);
  view.model.set("direction_x", "gradient");
  view.model.set("saddles", 0.25);
  view.model.set("zoom", -1);
  view.model.set("running", false);
  await settle();
  expect(view.control("resolution").value).toBe("1");
  expect(view.control("x direction").value).toBe("7");
  expect(view.control("saddle highlighting").value).toBe("5");
  expect(view.root.querySelector(".lw-zoom").textContent).toBe("range ÷ 2");
  expect(view.control("continue")).not.toBeNull();
});

test("the range ends at four doublings and four halvings", async () => {
  const view = mount({ zoom: 4 });
  expect(view.control("twice the range").disabled).toBe(true);
  view.model.set("zoom", -4);
  await settle();
  expect(view.control("half the range").disabled).toBe(true);
  expect(view.control("twice the range").disabled).toBe(false);
});

test("directions that are not final say so", async () => {
  const view = mount({ direction_x: "smallest-2" });
  const badges = [...view.root.querySelectorAll(".lw-badge")].map((element) =>
    element.hidden ? "" : element.textContent,
  );
  expect(badges.slice(0, 2)).toEqual(["not converged", "still sharpening"]);
  view.model.set(
    "catalog",
    CATALOG.map((entry) => ({ ...entry, preliminary: false, converged: entry.curvature === null ? null : true })),
  );
  await settle();
  expect([...view.root.querySelectorAll(".lw-badge")].every((element) => element.hidden)).toBe(true);
});

test("before anybody has chosen, the sliders show the directions of the picture", async () => {
  const view = mount({ direction_x: "", direction_y: "" });
  expect(view.control("x direction").getAttribute("aria-valuetext")).toBe("not known yet");
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9 }));
  await settle();
  expect(view.control("x direction").getAttribute("aria-valuetext")).toContain("largest curvature");
  expect(view.control("y direction").value).toBe("4");
});

test("before there are directions the sliders wait; many directions thin their marks", async () => {
  const view = mount({ catalog: [] });
  expect(view.control("x direction").disabled).toBe(true);
  const many = Array.from({ length: 40 }, (_, k) => direction(`d-${k}`, "hessian", `λ${k}`, `direction ${k}`));
  view.model.set("catalog", many);
  view.model.set("direction_x", "d-3");
  view.model.set("direction_y", "d-9");
  await settle();
  expect(view.control("x direction").max).toBe("39");
  const marks = [...view.root.querySelector(".lw-slider-marks").children].map((element) => element.textContent);
  expect(marks[0]).toBe("λ0");
  expect(marks.at(-1)).toBe("λ39");
  expect(marks.filter(Boolean).length).toBeLessThan(12);
});

test("without an engine its controls are off, with the reason, and the looks work here", async () => {
  const view = mount({ live: false, contours: true });
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9 }));
  await painted(view.root);
  for (const name of [
    "x direction",
    "y direction",
    "resolution",
    "saddle window",
    "wide",
    "half the range",
    "twice the range",
  ])
    expect(view.control(name).disabled, name).toBe(true);
  expect(view.root.querySelector(".lw-note").textContent).toContain("No engine behind this picture");
  expect(view.root.querySelector(".lw-note").hidden).toBe(false);
  expect(view.root.querySelector(".lw-stop").hidden).toBe(true);
  expect(view.root.dataset.live).toBe("false");

  for (const name of ["saddle highlighting", "log scale", "contours", "colormap", "home", "top"])
    expect(view.control(name).disabled, name).toBe(false);
  view.control("log scale").click();
  view.page.scene.draw();
  expect(view.page.scene.scale.log).toBe(true);
});

test("progress, time to go and what is spoken", async () => {
  const view = mount({ progress: 0.4, eta: 12 });
  sendGrid(view.model, makeGrid({ rows: 9, columns: 9, header: { measured: 25 } }));
  await settle();
  expect(view.root.querySelector(".lw-words").textContent).toBe("Measuring: 25 of 81 cells");
  expect(view.root.querySelector(".lw-eta").textContent).toBe("about 12 s left");
  expect(view.root.querySelector("progress").value).toBeCloseTo(0.4);
  await until(() => expect(view.root.querySelector('[role="status"]').textContent).toContain("25 of 81"));
  view.model.set("status", "done");
  await settle();
  expect(view.root.querySelector("progress").hidden).toBe(true);
  expect(view.root.querySelector(".lw-words").textContent).toBe("Done: 25 of 81 cells measured");
});
