"""Critical points of a sampled surface: found on its triangulation, ranked by persistence. numpy only."""

from __future__ import annotations

import numpy as np

from landscape_widget.landscape import CriticalPoint

# The six neighbours of a vertex, in order around it, where each square is cut by the diagonal from (row, column) to
# (row+1, column+1).
_RING = ((0, 1), (1, 1), (1, 0), (0, -1), (-1, -1), (-1, 0))
_SADDLES = {1: "saddle", 2: "monkey saddle"}


def slice_critical_points(
    surface: np.ndarray, alphas: np.ndarray, betas: np.ndarray, *, threshold: float = 0.0
) -> tuple[CriticalPoint, ...]:
    """Critical points of the piecewise-linear surface through the cells, strictly inside the grid.

    A vertex is classified by how often its ring of neighbours changes between lower and higher (Banchoff 1970):
    never: minimum or maximum; twice: regular; four times: saddle; six: monkey saddle. Equal heights are ordered by
    index, so that plateaus have no spurious points of their own.

    Parameters
    ----------
    surface
        Shape (b, a); not finite is a hole, next to which nothing is classified.
    alphas, betas
        Coordinates, shapes (a,), (b,).
    threshold
        Extrema of a persistence up to this loss difference, and the saddles paired with them, are left out as noise.

    Returns
    -------
    tuple of CriticalPoint
        The most persistent first.
    """
    rows, columns = surface.shape
    if rows < 3 or columns < 3:
        return ()
    finite = np.isfinite(surface)
    order = np.empty(surface.size, dtype=np.int64)
    order[np.argsort(np.where(finite, surface, np.inf), axis=None, kind="stable")] = np.arange(surface.size)
    order = order.reshape(surface.shape)
    middle = order[1:-1, 1:-1]
    ring = np.stack([order[1 + r : rows - 1 + r, 1 + c : columns - 1 + c] for r, c in _RING])
    whole = np.all([finite[1 + r : rows - 1 + r, 1 + c : columns - 1 + c] for r, c in (*_RING, (0, 0))], axis=0)
    lower = ring < middle
    changes = (lower != np.roll(lower, -1, axis=0)).sum(axis=0)
    persistences = _persistences(surface, order, finite)
    found = []
    for row, column in np.argwhere(whole & (changes != 2)):
        position = int(row) + 1, int(column) + 1
        paired = persistences.get(position, [])
        multiplicity = max(1, int(changes[row, column]) // 2 - 1)
        # What is paired with nothing is essential: a saddle that joins no two basins, or the deepest basin itself. A
        # monkey saddle one of whose two pairs is noise is a saddle.
        noise = sum(value <= threshold for value in paired)
        multiplicity = min(multiplicity, max(multiplicity, len(paired)) - noise)
        if multiplicity == 0:
            continue
        if changes[row, column] == 0:
            kind = "maximum" if lower[0, row, column] else "minimum"
        else:
            kind = _SADDLES[multiplicity]
        found.append(
            CriticalPoint(
                kind,
                float(alphas[position[1]]),
                float(betas[position[0]]),
                float(surface[position]),
                *position,
                persistence=max(paired, default=None),
            )
        )
    return tuple(sorted(found, key=lambda p: -(np.inf if p.persistence is None else p.persistence)))


def _persistences(surface: np.ndarray, order: np.ndarray, finite: np.ndarray) -> dict[tuple[int, int], list[float]]:
    """For every extremum and the saddle that ends it the loss difference between them; a saddle may end several."""
    found: dict[tuple[int, int], list[float]] = {}
    # Maxima of f are minima of −f: the same sweep from above.
    for ranks in (order, surface.size - 1 - order):
        for extremum, saddle in _merge_pairs(ranks, finite):
            difference = abs(float(surface[saddle] - surface[extremum]))
            for cell in (extremum, saddle):
                found.setdefault(cell, []).append(difference)
    return found


def _merge_pairs(ranks: np.ndarray, finite: np.ndarray) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """(birth, death) cells of the components of sublevel sets (Edelsbrunner & Harer 2010, §VII.1); the oldest never dies.

    Every vertex belongs to the minimum at the end of its steepest descent; where two such basins touch, the lower of
    the touching pairs' upper ends is the pass between them. Merging basins over passes from the lowest up pairs each
    minimum with the pass at which its component meets an older one.
    """
    columns = ranks.shape[1]
    flat = np.where(finite, ranks, ranks.size).ravel()
    basin = _basins(flat.reshape(ranks.shape))
    a, b = _edges(finite)
    a, b = a[basin[a] != basin[b]], b[basin[a] != basin[b]]
    death = np.where(flat[a] > flat[b], a, b)
    order = np.argsort(flat[death], kind="stable")
    parent: dict[int, int] = {}

    def root(i: int) -> int:
        while parent.get(i, i) != i:
            parent[i] = i = parent.get(parent[i], parent[i])
        return i

    pairs = []
    for i, j, cell in zip(basin[a[order]].tolist(), basin[b[order]].tolist(), death[order].tolist(), strict=True):
        i, j = root(i), root(j)
        if i != j:
            old, young = (i, j) if flat[i] < flat[j] else (j, i)
            pairs.append((divmod(young, columns), divmod(cell, columns)))
            parent[young] = old
    return pairs


def _basins(ranks: np.ndarray) -> np.ndarray:
    """For every vertex the flat index of the minimum at the end of its steepest descent, shape (size,)."""
    rows, columns = ranks.shape
    index = np.arange(ranks.size).reshape(ranks.shape)
    padded = np.pad(ranks, 1, constant_values=ranks.size)
    down, lowest = index.copy(), ranks.copy()
    for r, c in _RING:
        neighbour = padded[1 + r : rows + 1 + r, 1 + c : columns + 1 + c]
        lower = neighbour < lowest
        lowest[lower] = neighbour[lower]
        down[lower] = (index + r * columns + c)[lower]
    down = down.ravel()
    while not np.array_equal(down, further := down[down]):
        down = further
    return down


def _edges(finite: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges of the triangulation between finite vertices, as flat indices of their ends."""
    index = np.arange(finite.size).reshape(finite.shape)
    ends = [
        (index[:, :-1], index[:, 1:]),
        (index[:-1], index[1:]),
        (index[:-1, :-1], index[1:, 1:]),
    ]
    a, b = (np.concatenate([pair[side].ravel() for pair in ends]) for side in (0, 1))
    both = finite.ravel()[a] & finite.ravel()[b]
    return a[both], b[both]
