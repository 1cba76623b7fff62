// The shapes that cross borders inside the page; docs/protocol.md says what they mean.
//
// Traits and events are `any` here: the kernel guarantees their types, and each reader knows which trait it asked for.

/** The part of anywidget's model that the page uses. */
export interface Model {
  get(name: string): any;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: (...args: any[]) => void): void;
  off(event: string, callback?: (...args: any[]) => void): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
}

/** One direction of the catalog, in the order of the sliders. */
export interface Direction {
  key: string;
  group: string;
  symbol: string;
  label: string;
  curvature: number | null;
  residual: number | null;
  converged: boolean | null;
  preliminary: boolean;
  help: string;
}

/** What is known of the Hessian's spectrum; empty until something is. */
export interface Spectrum {
  done?: boolean;
  grid?: number[];
  counts?: number[];
  scale?: number;
  bandwidth?: number;
  noise?: number | null;
  bulk?: [number, number] | null;
  outliers?: number[];
  num_parameters?: number;
  num_probes?: number;
  num_matvecs?: number;
  numbers?: { key: string; symbol: string; label: string; text: string; help: string }[];
  planes?: string;
}

/** A critical point of the slice. */
export interface Critical {
  kind: string;
  alpha: number;
  beta: number;
  loss: number;
  row: number;
  column: number;
  persistence: number | null;
}

/** Everything about a grid but its cells. */
export interface Header {
  epoch: number;
  seq: number;
  alphas: number[];
  betas: number[];
  x: Direction;
  y: Direction;
  units: [string, string];
  norms: [number, number];
  cosine: number;
  theta_norm: number;
  center_loss: number | null;
  log_ok: boolean;
  measured: number;
  cells: number;
  critical: Critical[];
  curvature: [number, number, number] | null;
}

/** A grid as the page holds it: row = β, column = α, index = row * columns + column. */
export interface Grid {
  header: Header;
  rows: number;
  columns: number;
  heights: Float32Array;
  logHeights: Float32Array;
  states: Uint8Array;
}

/** What a view hears from the state. */
export type StateEvent =
  | { kind: "grid" }
  | { kind: "patch"; indices: Uint32Array }
  | { kind: "trait"; name: string }
  | { kind: "fault" };

export interface State {
  readonly client: string;
  readonly grid: Grid | null;
  readonly fault: string;
  get(name: string): any;
  want(params: Record<string, unknown>): void;
  subscribe(listener: (event: StateEvent) => void): () => void;
  attach(): () => void;
}

/** How the values of a grid become heights, colours and labels. */
export interface Scale {
  log: boolean;
  values: Float32Array;
  min: number;
  max: number;
  title: string;
  ticks(count: number): { at: number; label: string }[];
  contours: { step: number; phase: number; scale: number };
}

/** What the user chose about the looks, all of it known without a kernel. */
export interface Look {
  log: boolean;
  colormap: string;
  contours: boolean;
  saddles: number;
}

/** Where the pointer is on the surface. */
export interface Cursor {
  alpha: number;
  beta: number;
  loss: number | null;
  row: number;
  column: number;
  state: number;
  point: [number, number, number];
  at: { alpha: number; beta: number; loss: number | null };
}

export interface Theme {
  dark: boolean;
  foreground: string;
  muted: string;
  background: string;
}
