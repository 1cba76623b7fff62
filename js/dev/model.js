// A model without a kernel, for tests and for looking at the page: anywidget's interface, and a landscape with a known formula.

/** A stand-in for the host's model: traits, events, and a record of what was sent. */
export function fakeModel(traits = {}) {
  const state = { ...defaults(), ...traits };
  const listeners = new Map();
  const sent = [];
  const emit = (event, ...details) => {
    for (const callback of [...(listeners.get(event) ?? [])]) callback(...details);
  };
  return {
    sent,
    state,
    emit,
    get: (name) => state[name],
    set(name, value) {
      if (state[name] === value) return;
      state[name] = value;
      emit(`change:${name}`);
    },
    save_changes() {},
    send: (content) => sent.push(structuredClone(content)),
    on(event, callback) {
      if (!listeners.has(event)) listeners.set(event, new Set());
      listeners.get(event).add(callback);
    },
    off: (event, callback) => listeners.get(event)?.delete(callback),
    listeners: () => [...listeners.values()].reduce((sum, set) => sum + set.size, 0),
    sentOf: (kind) => sent.filter((message) => message.kind === kind),
  };
}

export const direction = (key, group, symbol, label, curvature = null, extra = {}) => ({
  key,
  group,
  symbol,
  label,
  curvature,
  residual: curvature === null ? null : 0.002,
  converged: curvature === null ? null : true,
  preliminary: false,
  help: "A unit vector in the space of all weights.",
  ...extra,
});

export const CATALOG = [
  direction("largest-1", "hessian", "λ₁", "largest curvature (λ₁ = 2.84 ± 0.002)", 2.84),
  direction("largest-2", "hessian", "λ₂", "2nd largest curvature (λ₂ = 1.31 ± 0.004)", 1.31),
  direction("largest-3", "hessian", "λ₃", "3rd largest curvature (λ₃ = 0.77 ± 0.01)", 0.77),
  direction("smallest-2", "hessian", "λₙ₋₁", "2nd smallest curvature (λ = −0.21 ± 0.03)", -0.21, { converged: false }),
  direction("smallest-1", "hessian", "λₙ", "smallest curvature (λ = −0.42 ± 0.01)", -0.42, { preliminary: true }),
  direction("random-1", "random", "rand₁", "random direction 1 (filter-normalized)"),
  direction("random-2", "random", "rand₂", "random direction 2 (filter-normalized)"),
  direction("gradient", "gradient", "∇", "gradient at θ*"),
];

/** A spectrum that fits the catalog: a bulk around zero, skewed to the right, and five outliers. */
export const SPECTRUM = (() => {
  const scale = 0.25;
  const bandwidth = 0.04;
  const outliers = [2.84, 1.31, 0.77, -0.42, -0.21];
  const [first, last] = [Math.asinh(-0.42 / scale) - 0.16, Math.asinh(2.84 / scale) + 0.16];
  const places = Array.from({ length: 256 }, (_, k) => first + ((last - first) * k) / 255);
  const gaussian = (offset) => Math.exp(-0.5 * offset * offset);
  return {
    done: true,
    noise: 1e-6,
    scale,
    bandwidth,
    grid: places.map((u) => scale * Math.sinh(u)),
    counts: places.map(
      (u) =>
        400 * gaussian(u / 0.06) +
        40 * gaussian((u - 0.15) / 0.35) +
        outliers.reduce((sum, value) => sum + gaussian((u - Math.asinh(value / scale)) / bandwidth), 0),
    ),
    bulk: [-0.15, 0.35],
    outliers,
    num_parameters: 1094,
    num_probes: 8,
    num_steps: 64,
    num_matvecs: 512,
    numbers: [
      ["lambda_max", "λ_max", "largest eigenvalue", "2.84 ± 0.002", "The largest eigenvalue of the Hessian."],
      ["lambda_min", "λ_min", "smallest eigenvalue", "−0.42 ± 0.01", "The smallest eigenvalue of the Hessian."],
      ["trace", "tr H", "trace", "14.1 ± 0.8", "The sum of all eigenvalues."],
      ["trace_ratio", "s", "s = tr H/‖H‖_F", "3.9 ± 0.2", "The trace against the Frobenius norm."],
      ["gradient", "‖∇L‖", "gradient", "2·10⁻⁵", "The length of the gradient at the trained point."],
      ["range", "h₀", "range of the Hessian", "≥ 0.1 along λ₁, ± 0.01 along λₙ", "How far the Hessian describes it."],
      ["planes", "random planes", "random planes", "4 ± 2 % show a saddle (Gaussian axes, sampled)", "Averages."],
    ].map(([key, symbol, label, text, help]) => ({ key, symbol, label, text, help })),
    planes: "Of random planes with Gaussian axes, 96 ± 3 % show a minimum, 4 ± 2 % a saddle, 0 ± 1 % a maximum.",
  };
})();

function defaults() {
  return {
    direction_x: "largest-1",
    direction_y: "smallest-1",
    resolution: 65,
    window: "saddle",
    zoom: 0,
    saddles: 0.5,
    log_scale: false,
    colormap: "viridis",
    contours: true,
    running: true,
    height: 460,
    live: true,
    status: "survey",
    progress: 0.4,
    eta: 12,
    error: "",
    caption: [
      "The loss of digits_mlp (1 094 weights) on 1 437 images, along two directions of its Hessian at θ*.",
      "Across: largest curvature, λ₁ = 2.84 ± 0.002. Into the picture: smallest curvature, λ = −0.42 ± 0.01.",
      "1 024 of 4 225 cells measured; the others are predicted, with 95 % confidence 98 % of them within 3·10⁻⁴.",
      "‖∇L‖ = 2·10⁻⁵: the trained point is a saddle of the whole loss.",
    ],
    catalog: CATALOG,
    spectrum: {},
    resolutions: [5, 9, 17, 33, 65, 129],
    _confirmed: {},
    _grid: null,
  };
}

/** A saddle with walls: down along β until a quartic takes over, up along α, a little twisted. */
export const saddle = (a, b) =>
  0.412 + 1.42 * a * a - 0.21 * b * b + 0.085 * b ** 4 + 0.05 * a * b * b - 0.03 * a * a * b;

const range = (half, n) => Array.from({ length: n }, (_, k) => half * ((2 * k) / (n - 1) - 1));

/**
 * A grid message: header and buffers.
 *
 * `stateOf(row, column)` gives each cell's state; by default all are measured.
 */
export function makeGrid({
  rows = 65,
  columns = 65,
  halfA = 0.75,
  halfB = 1.9,
  f = saddle,
  stateOf = () => 2,
  center = f(0, 0),
  header = {},
} = {}) {
  const alphas = range(halfA, columns);
  const betas = range(halfB, rows);
  const cells = rows * columns;
  const heights = new Float32Array(cells);
  const logHeights = new Float32Array(cells);
  const states = new Uint8Array(cells);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) {
      const index = r * columns + c;
      const loss = f(alphas[c], betas[r]);
      states[index] = stateOf(r, c);
      heights[index] = states[index] === 0 || states[index] === 3 ? 1e30 : loss - center;
      logHeights[index] = states[index] === 0 || states[index] === 3 ? 1e30 : Math.log10(loss);
    }
  return {
    header: {
      epoch: 0,
      seq: 0,
      alphas,
      betas,
      x: CATALOG[0],
      y: CATALOG[4],
      units: ["‖Δθ‖", "‖Δθ‖"],
      norms: [1, 1],
      cosine: 0,
      theta_norm: 12.3,
      center_loss: center,
      log_ok: true,
      measured: states.reduce((sum, state) => sum + Number(state >= 2), 0),
      cells,
      critical: [],
      curvature: [2.84, 0, -0.42],
      ...header,
    },
    heights,
    logHeights,
    states,
  };
}

/** The three critical points of `saddle`, where the grid has a cell near them. */
export function saddlePoints(n = 65) {
  const middle = (n - 1) / 2;
  const off = Math.round((1.111 / 1.9) * middle);
  const beta = (1.9 * off) / middle;
  return [
    { kind: "saddle", alpha: 0, beta: 0, loss: saddle(0, 0), row: middle, column: middle, persistence: null },
    { kind: "minimum", alpha: 0, beta, loss: saddle(0, beta), row: middle + off, column: middle, persistence: 0.13 },
    {
      kind: "minimum",
      alpha: 0,
      beta: -beta,
      loss: saddle(0, -beta),
      row: middle - off,
      column: middle,
      persistence: 0.13,
    },
  ];
}

/** A DataView that starts `offset` bytes into a larger buffer, as some hosts hand them over. */
export function view(array, offset = 0) {
  const bytes = new Uint8Array(array.byteLength + offset);
  bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), offset);
  return new DataView(bytes.buffer, offset, array.byteLength);
}

export function sendGrid(model, { header, heights, logHeights, states }, { offset = 0, ...overrides } = {}) {
  model.emit(
    "msg:custom",
    { kind: "grid", ...header, ...overrides },
    [heights, logHeights, states].map((array) => view(array, offset)),
  );
}

/** A patch with the cells of `grid` whose indices are given. */
export function sendPatch(model, grid, indices, { epoch = grid.header.epoch, seq, offset = 0, states, ...more }) {
  const pickFrom = (array) => indices.map((index) => array[index]);
  const message = { kind: "patch", epoch, seq, measured: grid.header.measured, ...more };
  model.emit("msg:custom", message, [
    view(Uint32Array.from(indices), offset),
    view(Float32Array.from(pickFrom(grid.heights)), offset),
    view(Float32Array.from(pickFrom(grid.logHeights)), offset),
    view(Uint8Array.from(states ?? pickFrom(grid.states)), offset),
  ]);
}
