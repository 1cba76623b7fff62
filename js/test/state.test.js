import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { fakeModel, makeGrid, sendGrid, sendPatch, view } from "../dev/model.js";
import { createState } from "../src/state.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function start(traits) {
  const model = fakeModel(traits);
  const controller = new AbortController();
  const state = createState({ model, signal: controller.signal, client: "me" });
  const events = [];
  state.subscribe((event) => events.push(event));
  return { model, state, controller, events };
}

const small = (options) => makeGrid({ rows: 5, columns: 9, ...options });

test("hello is said at once and repeated after 0.5, 1, 2, 4, 8 s until an answer", () => {
  const { model } = start();
  expect(model.sentOf("hello")).toEqual([{ kind: "hello", client: "me", epoch: -1, seq: -1 }]);
  const counts = [500, 1000, 2000, 4000, 8000].map((time) => {
    vi.advanceTimersByTime(time - 1);
    const before = model.sentOf("hello").length;
    vi.advanceTimersByTime(1);
    return [before, model.sentOf("hello").length];
  });
  expect(counts).toEqual([
    [1, 2],
    [2, 3],
    [3, 4],
    [4, 5],
    [5, 6],
  ]);
  vi.advanceTimersByTime(60_000);
  expect(model.sentOf("hello").length).toBe(6);
});

test.each(["grid", "ack", "patch"])("hello ends with a %s", (answer) => {
  const grid = small({ stateOf: () => 0 });
  const snapshot = {
    ...grid.header,
    heights: view(grid.heights),
    log_heights: view(grid.logHeights),
    states: view(grid.states),
  };
  const { model } = start(answer === "patch" ? { _grid: snapshot } : {});
  if (answer === "grid") sendGrid(model, grid);
  if (answer === "patch") sendPatch(model, small(), [3], { seq: 1 });
  if (answer === "ack") model.emit("msg:custom", { kind: "hello_ack", client: "me", epoch: -1, seq: -1 }, []);
  vi.advanceTimersByTime(60_000);
  expect(model.sentOf("hello").length).toBe(1);
});

test("an acknowledgement for another page, or one that announces a grid, is no answer yet", () => {
  const { model } = start();
  model.emit("msg:custom", { kind: "hello_ack", client: "you", epoch: -1, seq: -1 }, []);
  model.emit("msg:custom", { kind: "hello_ack", client: "me", epoch: 2, seq: 0 }, []);
  vi.advanceTimersByTime(500);
  expect(model.sentOf("hello").length).toBe(2);
});

test("a grid and its patches arrive, at any byte offset, and each is acknowledged", () => {
  const { model, state, events } = start();
  const empty = small({ stateOf: () => 0 });
  sendGrid(model, empty, { offset: 3 });
  expect(state.grid).toMatchObject({ rows: 5, columns: 9 });
  expect(state.grid.heights).toEqual(empty.heights);

  const full = small();
  sendPatch(model, full, [7, 0, 44], { seq: 1, offset: 1 });
  expect([...state.grid.states].flatMap((value, k) => (value ? [k] : []))).toEqual([0, 7, 44]);
  expect(state.grid.heights[44]).toBe(full.heights[44]);
  expect(state.grid.logHeights[7]).toBe(full.logHeights[7]);
  expect(state.grid.header.seq).toBe(1);
  expect(events.map(({ kind }) => kind)).toEqual(["grid", "patch"]);
  expect(model.sentOf("ack")).toEqual([
    { kind: "ack", epoch: 0, seq: 0 },
    { kind: "ack", epoch: 0, seq: 1 },
  ]);
});

test("messages of an older epoch and repeated patches change nothing", () => {
  const { model, state } = start();
  const grid = small({ stateOf: () => 0, header: { epoch: 3, seq: 5 } });
  sendGrid(model, grid);
  const full = small({ f: () => 9 });
  sendGrid(model, full, { epoch: 2 });
  sendPatch(model, full, [1], { epoch: 2, seq: 6 });
  sendPatch(model, full, [1], { epoch: 3, seq: 5 });
  expect(state.grid.header.epoch).toBe(3);
  expect(Math.max(...state.grid.states)).toBe(0);
});

test("a gap asks for the grid once, whatever else comes, and keeps what is there", () => {
  const { model, state } = start();
  const grid = small({ stateOf: () => 0 });
  sendGrid(model, grid);
  const before = model.sentOf("hello").length;
  for (const seq of [2, 3, 4]) sendPatch(model, small(), [1], { seq });
  sendPatch(model, small(), [1], { epoch: 1, seq: 1 });
  expect(model.sentOf("hello").slice(before)).toEqual([{ kind: "hello", client: "me", epoch: 0, seq: 0 }]);
  expect(state.grid.states[1]).toBe(0);
  vi.advanceTimersByTime(500);
  expect(model.sentOf("hello").length).toBe(before + 2);
  sendGrid(model, small(), { seq: 4 });
  vi.advanceTimersByTime(60_000);
  expect(model.sentOf("hello").length).toBe(before + 2);
  expect(state.grid.states[1]).toBe(2);
});

test("critical points and counts come with patches", () => {
  const { model, state } = start();
  sendGrid(model, small());
  const critical = [{ kind: "saddle", alpha: 0, beta: 0, loss: 1, row: 2, column: 4, persistence: null }];
  sendPatch(model, small(), [1], { seq: 1, measured: 33, critical });
  sendPatch(model, small(), [2], { seq: 2, measured: 34 });
  expect(state.grid.header).toMatchObject({ measured: 34, critical });
});

test("the snapshot in the traits is the start; an older one later is ignored", () => {
  const snapshotOf = (grid) => ({
    ...grid.header,
    heights: view(grid.heights, 2),
    log_heights: view(grid.logHeights, 1),
    states: view(grid.states, 1),
  });
  const { model, state } = start({ _grid: snapshotOf(small({ header: { epoch: 4, seq: 2 } })) });
  expect(state.grid.header).toMatchObject({ epoch: 4, seq: 2 });
  expect(model.sentOf("hello")[0]).toMatchObject({ epoch: 4, seq: 2 });
  model.set("_grid", snapshotOf(small({ f: () => 5, header: { epoch: 4, seq: 1 } })));
  expect(state.grid.header.seq).toBe(2);
  model.set("_grid", snapshotOf(small({ header: { epoch: 5, seq: 0 } })));
  expect(state.grid.header.epoch).toBe(5);
});

test("a message that cannot be read is told, not swallowed", () => {
  const { model, state, events } = start();
  const grid = small();
  sendGrid(model, { ...grid, heights: grid.heights.slice(1) });
  expect(state.fault).toContain("expected 180 bytes of heights, got 176");
  expect(events.at(-1)).toEqual({ kind: "fault" });
  sendGrid(model, grid);
  expect(state.fault).toBe("");
});

test("wishes within 40 ms are one message with the newest values", () => {
  const { model, state } = start();
  state.want({ resolution: 9 });
  state.want({ resolution: 17 });
  state.want({ saddles: 0.25 });
  expect(state.get("resolution")).toBe(17);
  expect(model.sentOf("set")).toEqual([]);
  vi.advanceTimersByTime(40);
  expect(model.sentOf("set")).toEqual([
    { kind: "set", client: "me", rev: 1, params: { resolution: 17, saddles: 0.25 } },
  ]);
});

test("a wish is repeated after 1, 2, 4, 8 s until it is confirmed", () => {
  const { model, state } = start();
  state.want({ zoom: 1 });
  vi.advanceTimersByTime(40 + 1000 + 2000);
  expect(model.sentOf("set").map(({ rev }) => rev)).toEqual([1, 1, 1]);
  model.set("_confirmed", { you: 9, me: 1 });
  vi.advanceTimersByTime(60_000);
  expect(model.sentOf("set").length).toBe(3);
});

test("an unconfirmed wish travels with the next one, a confirmed one does not", () => {
  const { model, state } = start();
  state.want({ zoom: 1 });
  vi.advanceTimersByTime(40);
  state.want({ window: "wide" });
  vi.advanceTimersByTime(40);
  expect(model.sentOf("set")[1]).toMatchObject({ rev: 2, params: { zoom: 1, window: "wide" } });
  model.set("_confirmed", { me: 2 });
  state.want({ contours: false });
  vi.advanceTimersByTime(40);
  expect(model.sentOf("set")[2]).toMatchObject({ rev: 3, params: { contours: false } });
});

test("confirmation ends the wish: a refused one falls back to the trait", () => {
  const { model, state, events } = start();
  state.want({ resolution: 129 });
  vi.advanceTimersByTime(40);
  events.length = 0;
  model.set("_confirmed", { me: 1 });
  expect(state.get("resolution")).toBe(65);
  expect(events).toEqual([{ kind: "trait", name: "resolution" }]);
});

test("the echo of an earlier wish does not pull the slider back; a change after the answer counts", () => {
  const { model, state } = start();
  state.want({ saddles: 0.2 });
  vi.advanceTimersByTime(40);
  state.want({ saddles: 0.8 });
  model.set("saddles", 0.2);
  expect(state.get("saddles")).toBe(0.8);
  vi.advanceTimersByTime(40);
  model.set("saddles", 0.8);
  model.set("_confirmed", { me: 2 });
  model.set("saddles", 0.1);
  expect(state.get("saddles")).toBe(0.1);
});

test("without an engine looks are kept here, and nothing that needs one is asked for", () => {
  const { model, state } = start({ live: false });
  state.want({ resolution: 9, contours: false });
  expect(state.get("resolution")).toBe(65);
  expect(state.get("contours")).toBe(false);
  vi.advanceTimersByTime(120_000);
  expect(state.get("contours")).toBe(false);
  for (const { params } of model.sentOf("set")) expect(Object.keys(params)).toEqual(["contours"]);
  model.set("contours", false);
  model.set("contours", true);
  expect(state.get("contours")).toBe(true);
});

test("only what a page may ask for is asked for", () => {
  const { model, state } = start();
  state.want({ error: "x", height: 3, colormap: "magma" });
  vi.advanceTimersByTime(40);
  expect(model.sentOf("set")[0].params).toEqual({ colormap: "magma" });
});

test("pings while there is a view", () => {
  const { model, state } = start();
  expect(model.sentOf("ping")).toEqual([]);
  const detachOne = state.attach();
  const detachTwo = state.attach();
  vi.advanceTimersByTime(40_000);
  expect(model.sentOf("ping")).toEqual(Array(3).fill({ kind: "ping", client: "me" }));
  detachOne();
  detachOne();
  vi.advanceTimersByTime(20_000);
  expect(model.sentOf("ping").length).toBe(4);
  detachTwo();
  vi.advanceTimersByTime(60_000);
  expect(model.sentOf("ping").length).toBe(4);
});

test("the end of the model ends listeners and timers", () => {
  const { model, state, controller } = start();
  state.attach();
  state.want({ zoom: 1 });
  const { length } = model.sent;
  controller.abort();
  vi.advanceTimersByTime(120_000);
  expect(model.sent.length).toBe(length);
  expect(model.listeners()).toBe(0);
});

test("each page has a name of its own, at most 32 characters", () => {
  const names = [1, 2].map(() => createState({ model: fakeModel() }).client);
  expect(names[0]).not.toBe(names[1]);
  for (const name of names) expect(name).toMatch(/^[0-9a-f]{16,32}$/);
});
