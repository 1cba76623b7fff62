"""Where a dyadic grid needs more cells: the misses of measured cells tell the error of each region. Pure numpy.

The grid is cut into *tiles*. A tile whose cells of one level were predicted by the coarser levels to within what is
allowed is predicted from there on. Elsewhere a few cells of the next level are tried; where one misses, all of them
are measured, and the tile is cut further. Nothing is remembered between two decisions: what is measured, and how far
it was from its prediction, says all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from landscape_widget.display import Display
from landscape_widget.interpolate import level_mask, num_levels, predict_all, strides

# Levels up to this one (17 × 17) are always measured in full: a coarser grid says nothing about what it misses.
FIRST_JUDGED = 2
# Height and width of a tile, in squares of the last complete level.
_SQUARES = 4
# Cells that are tried in a tile before it is predicted.
_TRIED = 3
# Where the landscape is smooth, misses fall by 2⁴ from level to level: the four-point rule reproduces cubics. They never
# fall faster for long.
_DECAY = 16.0
# Where they fall by less than this there is a kink or a cliff.
_SMOOTH = 0.3
# What is left of the last level's misses in a tile in which no cell was tried.
_UNTRIED = 1 / 4


@dataclass(frozen=True)
class _Tiles:
    """The tiles of one level, arrays of shape (tile rows, tile columns). Neighbours share their border."""

    level: int
    size: tuple[int, int]
    """Height and width in cells."""
    complete: np.ndarray
    """Whether every cell of the coarser levels is measured."""
    open: np.ndarray
    """Whether, besides, some of this level are not."""
    earlier: np.ndarray
    """Largest miss of the second coarser level."""
    before: np.ndarray
    """Largest miss of the last coarser level."""
    seen: np.ndarray
    """Largest miss of this level and finer ones."""
    tried: np.ndarray
    """How many of these are measured."""

    @property
    def expected(self) -> np.ndarray:
        """The largest miss expected among the cells that are not measured; 0 in tiles that are not open."""
        untried = np.maximum(self.seen, _UNTRIED * self.before)
        return np.where(self.open, np.where(self.tried > 0, self.seen, untried), 0.0)


class Refinement:
    """What the measured cells of a grid tell of the others.

    Parameters
    ----------
    values, measured
        Shapes (b, a); every cell up to level 17 × 17 is measured.
    display
        How a loss is seen, and so how large a miss is.
    """

    def __init__(self, values: np.ndarray, measured: np.ndarray, display: Display) -> None:
        self._measured, self._shape = measured, (values.shape[0], values.shape[1])
        self.surface, expected = predict_all(values, measured)
        # Nothing predicts the coarsest level.
        told = measured & ~level_mask(self._shape, 0)
        self.misses = np.where(told, display.miss(values, expected), 0.0)
        """Shape (b, a): how far a measured cell was from its prediction, as displayed; inf where a hole was not foreseen."""
        self._levels = list(self._cut())

    def wanted(self, allowed: np.ndarray, seed: int) -> np.ndarray:
        """The cells to measure next, bool (b, a): those of the coarsest level at which something misses; none where nothing does.

        Parameters
        ----------
        allowed
            Shape (b, a): how far a cell may be off. Of a tile the least counts.
        seed
            Of the choice of cells that are tried.
        """
        for tiles in self._levels:
            limit = -_over_tiles(-allowed, tiles.size)
            refined = tiles.open & ((tiles.seen > limit) | (tiles.before > _DECAY * limit))
            unsure = tiles.open & ~refined & (tiles.before > limit)
            new = level_mask(self._shape, tiles.level) & ~self._measured
            wanted = new & _spread(refined, tiles.size, self._shape)
            wanted |= self._tries(new, np.where(unsure, _TRIED - tiles.tried, 0), tiles.size, seed)
            if wanted.any():
                return wanted
        return np.zeros(self._shape, dtype=bool)

    @property
    def largest_expected(self) -> float:
        """An estimate of the largest miss of the cells that are not measured."""
        return max((float(tiles.expected.max(initial=0.0)) for tiles in self._levels), default=0.0)

    def expected(self) -> np.ndarray:
        """The miss expected around each cell, shape (b, a); 0 where all around it is measured."""
        found = np.zeros(self._shape)
        for tiles in self._levels:
            found = np.maximum(found, _spread(tiles.expected, tiles.size, self._shape))
        return found

    def num_remaining(self, allowed: float) -> int:
        """About how many cells are still to be measured until all are within ``allowed``, those of a last check not counted.

        The misses of each tile are taken to fall from level to level as they did so far; where they hardly fall there
        is a kink or a cliff, which crosses half of the smaller tiles.
        """
        count = 0.0
        for tiles in self._levels:
            decay = _decay(tiles.earlier, tiles.before)
            miss = np.where(tiles.tried > 0, tiles.seen, decay * tiles.before)
            unsure = tiles.open & (tiles.before > allowed) & (miss <= allowed)
            count += np.maximum(_TRIED - tiles.tried, 0)[unsure].sum()
            share, area = np.where(decay > _SMOOTH, 0.5, 1.0), math.prod(tiles.size)
            part = tiles.open.astype(float)
            for level in range(tiles.level, num_levels(self._shape)):
                new = area / math.prod(strides(self._shape, level)) - area / math.prod(strides(self._shape, level - 1))
                count += float(part[miss > allowed].sum()) * new
                miss, part = decay * miss, share * part
        return min(math.ceil(count), int((~self._measured).sum()))

    def _cut(self) -> Iterator[_Tiles]:
        """The tiles of each level, as far as the grid was refined anywhere."""
        missing = ~self._measured
        for level in range(FIRST_JUDGED + 1, num_levels(self._shape)):
            size = _tile_size(self._shape, level)
            coarser, mask = level_mask(self._shape, level - 1), level_mask(self._shape, level)
            last, second = (level_mask(self._shape, level - i) for i in (2, 3))
            complete = ~_over_tiles(missing & coarser, size)
            tiles = _Tiles(
                level,
                size,
                complete,
                open=complete & _over_tiles(missing & mask, size),
                earlier=_over_tiles(np.where(last & ~second, self.misses, 0.0), size),
                before=_over_tiles(np.where(coarser & ~last, self.misses, 0.0), size),
                seen=_over_tiles(np.where(coarser, 0.0, self.misses), size),
                tried=_count_in_tiles(self._measured & ~coarser, size),
            )
            yield tiles
            if not (complete & ~tiles.open).any():
                break

    def _tries(self, new: np.ndarray, number: np.ndarray, size: tuple[int, int], seed: int) -> np.ndarray:
        """So many of the ``new`` cells of each tile: the one next to the largest miss, and others at random."""
        chosen = np.zeros(self._shape, dtype=bool)
        if not (number > 0).any():
            return chosen
        rows, columns = np.nonzero(new & _spread(number > 0, size, self._shape))
        tile = np.minimum(rows // size[0], number.shape[0] - 1) * number.shape[1]
        tile += np.minimum(columns // size[1], number.shape[1] - 1)
        near = _next_to(self.misses, (max(1, size[0] // (2 * _SQUARES)), max(1, size[1] // (2 * _SQUARES))))
        draw = np.random.default_rng(seed).random(self._shape)
        # The rank of each cell in its tile: by chance, but the most suspicious one first.
        first = _is_first(tile, near[rows, columns])
        order = np.lexsort((draw[rows, columns], ~first, tile))
        starts = np.searchsorted(tile[order], tile[order])
        rank = np.arange(len(order)) - starts
        taken = order[rank < number.ravel()[tile[order]]]
        chosen[rows[taken], columns[taken]] = True
        return chosen


def _tile_size(shape: tuple[int, int], level: int) -> tuple[int, int]:
    rows, columns = (
        max(1, min(_SQUARES * step, count - 1)) for step, count in zip(strides(shape, level - 1), shape, strict=True)
    )
    return rows, columns


def _over_tiles(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest entry in each tile, borders included."""
    for axis, step in enumerate(size):
        array = np.moveaxis(array, axis, 0)
        if len(array) > 1:
            inner = np.maximum.reduceat(array[:-1], np.arange(0, len(array) - 1, step), axis=0)
            array = np.maximum(inner, array[step::step])
        array = np.moveaxis(array, 0, axis)
    return array


def _count_in_tiles(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How many cells of a mask each tile has, those on its upper and left border included."""
    counts = mask.astype(int)
    for axis, step in enumerate(size):
        counts = np.moveaxis(counts, axis, 0)
        if len(counts) > 1:
            counts = np.add.reduceat(counts[:-1], np.arange(0, len(counts) - 1, step), axis=0)
        counts = np.moveaxis(counts, 0, axis)
    return counts


def _spread(tiles: np.ndarray, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """What is said of tiles as said of their cells, shape ``shape``; on a border the larger of the two."""
    for axis, (step, count) in enumerate(zip(size, shape, strict=True)):
        tiles = np.moveaxis(tiles, axis, 0)
        if count > 1:
            cells = np.empty((count, *tiles.shape[1:]), dtype=tiles.dtype)
            cells[:-1], cells[-1] = np.repeat(tiles, step, axis=0), tiles[-1]
            cells[step:-1:step] = np.maximum(tiles[1:], tiles[:-1])
            tiles = cells
        tiles = np.moveaxis(tiles, 0, axis)
    return tiles


def _next_to(array: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """The largest of each cell and its eight neighbours at a distance of ``step``."""
    for axis, distance in enumerate(step):
        array = np.moveaxis(array, axis, 0)
        largest = array.copy()
        largest[distance:] = np.maximum(largest[distance:], array[:-distance])
        largest[:-distance] = np.maximum(largest[:-distance], array[distance:])
        array = np.moveaxis(largest, 0, axis)
    return array


def _is_first(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Whether an item has the largest value of its group; of several one."""
    order = np.lexsort((-value, group))
    starts = np.concatenate([[True], group[order][1:] != group[order][:-1]])
    first = np.zeros(len(group), dtype=bool)
    first[order[starts]] = True
    return first


def _decay(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """By how much misses fall from level to level, where they were ``earlier`` and ``later``; 1 where that cannot be said."""
    known = np.isfinite(earlier) & (earlier > 0)
    ratio = np.divide(later, earlier, out=np.ones_like(later), where=known)
    return np.clip(ratio, 1 / _DECAY, 1.0)
