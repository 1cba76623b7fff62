"""A dyadic grid: which cells are known, which to measure next (ask/tell). Pure numpy: deciding is apart from measuring."""

from __future__ import annotations

import math

import numpy as np

from landscape_widget.display import Display
from landscape_widget.engine.critical import slice_critical_points
from landscape_widget.engine.refinement import FIRST_JUDGED, Refinement
from landscape_widget.interpolate import level_mask, num_levels, predict
from landscape_widget.landscape import PredictionError

# Of the statement about the cells that are predicted (Clopper & Pearson 1934).
CONFIDENCE, SHARE = 0.95, 0.98
# Most of the doubt is spent on the first check. The others share the rest, so that the statement holds with the
# confidence however many checks there were.
_FIRST_DOUBT, _LATER_DOUBT = 0.04, 0.005
# Around a candidate for a critical point a cell may be off by so much of its persistence.
_OF_PERSISTENCE = 0.25
# Less persistent candidates than this part of the allowed miss drive nothing: of a picture that may be off by ten times
# as much they are no part.
_LEAST_PERSISTENCE = 0.1


class Grid:
    """Cells of a (rows, columns) = (β, α) grid, coarse to fine, each measured once.

    ``ask`` names the next cells, ``tell`` takes their losses. Up to 17 × 17 all are measured. From there on cells are
    measured where the prediction by coarser levels misses by more than ``tolerance`` of the range that is displayed,
    and around candidates for critical points where it misses by more than a quarter of their persistence. When nothing
    misses, cells drawn at random from the rest check the prediction; where one misses, it goes on there.

    Parameters
    ----------
    shape
        (rows, columns), each 2^k + 1; or one row, for the loss along a line.
    tolerance
        Relative to the range of the displayed losses on the level of 17 × 17; 0 measures every cell.
    seed
        Of the draw of cells that are tried and checked.
    noise
        A loss difference that means nothing: round-off of the loss. Nothing is refined to less.
    display
        How a loss is seen.
    num_metrics
        How many quantities there are besides the loss.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        tolerance: float,
        seed: int,
        noise: float = 0.0,
        display: Display | None = None,
        num_metrics: int = 0,
    ) -> None:
        self.shape, self.tolerance, self.seed, self.noise = shape, tolerance, seed, noise
        self.display = display or Display()
        self.metrics = np.full((num_metrics, *shape), np.nan)
        """What else is known of each cell; it drives nothing."""
        self._num_levels = num_levels(shape)
        self.values = np.full(shape, np.nan)
        self.measured = np.zeros(shape, dtype=bool)
        self.scale: float | None = None
        """The range of the displayed losses, once the level of 17 × 17 is measured: what the tolerance is relative to."""
        self.bound: float | None = None
        """Largest miss among the checked cells, as displayed, once the check has passed; 0 for a full grid."""
        self.num_checked = 0
        self.largest_expected: float | None = None
        """An estimate of the largest miss among the cells that are not measured, as displayed."""
        self.num_remaining = self.measured.size
        """About how many cells are still to be measured."""
        self._num_checks = 0
        # What ask() gave last, until all of it is told.
        self._asked = np.empty((0, 2), dtype=int)
        self._checking: np.ndarray | None = None
        self._expected: np.ndarray | None = None

    def ask(self) -> np.ndarray:
        """Cells to measure next, shape (m, 2): rows of (row, column), from the centre outwards; empty when the grid is done."""
        while self.bound is None and not len(self._asked):
            if self._checking is not None:
                self._judge_check()
            else:
                self._asked = self._from_centre(self._wanted())
        return self._asked

    def tell(self, cells: np.ndarray, losses: np.ndarray, metrics: np.ndarray | None = None) -> None:
        """The losses of some cells, shapes (m, 2) and (m,), and their metrics, shape (q, m); NaN and inf are kept."""
        rows, columns = np.asarray(cells).T
        self.num_remaining = max(0, self.num_remaining - int((~self.measured[rows, columns]).sum()))
        self.values[rows, columns] = losses
        self.measured[rows, columns] = True
        if metrics is not None:
            self.metrics[:, rows, columns] = metrics
        self._forget_known()

    @property
    def done(self) -> bool:
        """Whether nothing is left to measure."""
        return len(self.ask()) == 0

    @property
    def num_full_levels(self) -> int:
        """How many levels (5 × 5, 9 × 9, …) are measured in full."""
        full = (bool(self.measured[level_mask(self.shape, level)].all()) for level in range(self._num_levels))
        return next((level for level, is_full in enumerate(full) if not is_full), self._num_levels)

    @property
    def error(self) -> PredictionError:
        """What is known of the cells that are not measured."""
        largest = self.largest_expected
        return PredictionError(
            bound=self.bound,
            confidence=CONFIDENCE,
            share=SHARE,
            num_checked=self.num_checked,
            expected_largest=None if largest is None or not np.isfinite(largest) else largest,
            range=self.scale,
        )

    def refined(self, shape: tuple[int, int], zoom: int = 0) -> Grid:
        """A grid of another shape, in a window 2^zoom times as wide, that knows every cell the two have in common."""
        other = self._like(shape)
        parts = [_common(a, b, zoom) for a, b in zip(self.shape, shape, strict=True)]
        mine, theirs = np.ix_(*(part[0] for part in parts)), np.ix_(*(part[1] for part in parts))
        other.values[theirs], other.measured[theirs] = self.values[mine], self.measured[mine]
        for theirs_too, mine_too in zip(other.metrics, self.metrics, strict=True):
            theirs_too[theirs] = mine_too[mine]
        return other

    def absorb(self, other: Grid, zoom: int = 0) -> None:
        """Take over the cells that ``other``, whose window is 2^−zoom times as wide as this one's, has measured."""
        if other is self:
            return
        common = other.refined(self.shape, zoom)
        new = common.measured & ~self.measured
        self.values[new], self.measured[new] = common.values[new], True
        self.metrics[:, new] = common.metrics[:, new]
        self._forget_known()

    def transposed(self) -> Grid:
        """The same grid with its axes exchanged: its cells, how far it is, and what the check has shown."""
        other = self._like((self.shape[1], self.shape[0]))
        other.values, other.measured = self.values.T.copy(), self.measured.T.copy()
        other.metrics = self.metrics.transpose(0, 2, 1).copy()
        other.scale, other.largest_expected = self.scale, self.largest_expected
        other.bound, other.num_checked, other._num_checks = self.bound, self.num_checked, self._num_checks
        other.num_remaining = self.num_remaining
        other._asked = self._asked[:, ::-1].copy()
        if self._checking is not None and self._expected is not None:
            other._checking, other._expected = self._checking.T.copy(), self._expected.T.copy()
        return other

    def show(self, display: Display) -> None:
        """Go on until the losses are as sure as displayed otherwise."""
        if display == self.display:
            return
        self.display, self.scale, self.bound, self.num_checked = display, None, None, 0
        self._asked, self._checking, self._expected = self._asked[:0], None, None

    def _like(self, shape: tuple[int, int]) -> Grid:
        """An empty grid of another shape and the same wishes."""
        return Grid(
            shape,
            tolerance=self.tolerance,
            seed=self.seed,
            noise=self.noise,
            display=self.display,
            num_metrics=len(self.metrics),
        )

    def _forget_known(self) -> None:
        """Of what was asked keep what is not measured."""
        rows, columns = self._asked.T
        self._asked = self._asked[~self.measured[rows, columns]]

    def _wanted(self) -> np.ndarray:
        """The cells to measure next, bool of the grid's shape; what is known of the others is brought up to date."""
        for level in range(min(FIRST_JUDGED + 1, self._num_levels)):
            missing = level_mask(self.shape, level) & ~self.measured
            if missing.any():
                self._judge_coarse(level)
                return missing
        if self.measured.all():
            self.scale = self.display.range(self.values)
            self.bound, self.largest_expected, self.num_remaining = 0.0, 0.0, 0
            return np.zeros(self.shape, dtype=bool)
        if self.scale is None:
            self.scale = self.display.range(self.values[level_mask(self.shape, FIRST_JUDGED)])
        refinement = Refinement(self.values, self.measured, self.display)
        self.largest_expected = refinement.largest_expected
        wanted = refinement.wanted(np.full(self.shape, self._allowed), self.seed) if self.tolerance else ~self.measured
        self.num_remaining = int((~self.measured).sum())
        if self.tolerance:
            rest = int(wanted.sum()) + refinement.num_remaining(self._allowed) + self._num_to_check
            self.num_remaining = min(self.num_remaining, rest)
        if not wanted.any():
            wanted = refinement.wanted(self._allowed_around_candidates(refinement.surface), self.seed)
        return wanted if wanted.any() else self._start_check()

    def _judge_coarse(self, level: int) -> None:
        """While the first levels are measured, the largest miss of the last full one is all that is known."""
        unmeasured = ~self.measured
        self.num_remaining = int(unmeasured.sum())
        if self.tolerance:
            # As if the rest were smooth.
            to_come = int(unmeasured[level_mask(self.shape, min(FIRST_JUDGED, self._num_levels - 1))].sum())
            self.num_remaining = min(self.num_remaining, to_come + self._num_to_check)
        if level > 1:
            mask = level_mask(self.shape, level - 1)
            expected = predict(self.values, self.measured & level_mask(self.shape, level - 2))
            self.largest_expected = float(self.display.miss(self.values, expected)[mask].max())

    @property
    def _allowed(self) -> float:
        """The tolerance as a difference of displayed losses; at least what round-off makes of one."""
        assert self.scale is not None
        shown = np.abs(self.display.of(self.values[self.measured]))
        largest = float(np.nan_to_num(shown).max(initial=0.0))
        return max(self.tolerance * self.scale, self._displayed_noise, float(8 * np.finfo(float).eps * largest))

    @property
    def _displayed_noise(self) -> float:
        """On the log scale the noise is relative to the loss; where that is smallest it counts most."""
        if self.display.scale == "linear" or not self.noise:
            return self.noise
        losses = self.values[self.measured & ~np.isnan(self.display.of(self.values))]
        return math.log1p(self.noise / float(losses.min())) if losses.size else 0.0

    def _allowed_around_candidates(self, surface: np.ndarray) -> np.ndarray:
        """How far each cell may be off, shape of the grid: less around candidates for critical points."""
        allowed = np.full(self.shape, self._allowed)
        shown, least = self.display.of(surface), max(4 * self._displayed_noise, _LEAST_PERSISTENCE * self._allowed)
        rows, columns = (np.arange(count, dtype=float) for count in self.shape)
        for point in slice_critical_points(shown, columns, rows, threshold=least):
            if point.persistence is not None:
                near = np.s_[max(0, point.row - 1) : point.row + 2, max(0, point.column - 1) : point.column + 2]
                allowed[near] = np.minimum(allowed[near], _OF_PERSISTENCE * point.persistence)
        return allowed

    @property
    def _num_to_check(self) -> int:
        """Fresh cells without a miss that prove the statement: at least 149."""
        doubt = _LATER_DOUBT * 0.5 ** (self._num_checks - 1) if self._num_checks else _FIRST_DOUBT
        return math.ceil(math.log(doubt) / math.log(SHARE))

    def _start_check(self) -> np.ndarray:
        unmeasured = np.flatnonzero(~self.measured)
        number = min(self._num_to_check, len(unmeasured))
        rng = np.random.default_rng((self.seed, self._num_checks))
        self._expected = predict(self.values, self.measured)
        self._checking = np.zeros(self.shape, dtype=bool)
        self._checking.flat[rng.choice(unmeasured, number, replace=False)] = True
        self._num_checks += 1
        return self._checking

    def _judge_check(self) -> None:
        """Every checked cell is measured: if none missed, the grid is done."""
        assert self._checking is not None
        assert self._expected is not None
        miss = float(self.display.miss(self.values, self._expected)[self._checking].max())
        if miss <= self._allowed and not self.measured.all():
            self.bound, self.num_checked = miss, int(self._checking.sum())
            self.num_remaining = 0
            self.largest_expected = max(miss, self.largest_expected or 0.0)
        self._checking = self._expected = None

    def _from_centre(self, mask: np.ndarray) -> np.ndarray:
        cells = np.argwhere(mask)
        middle = (np.array(self.shape) - 1) / 2
        distance = np.abs((cells - middle) / np.maximum(middle, 0.5)).max(axis=1, initial=0.0)
        return cells[np.argsort(distance, kind="stable")]


def coordinates(count: int, span: float) -> np.ndarray:
    """So many coordinates along an axis from −span to span, shape (count,), symmetric about an exact 0."""
    return np.arange(-(count // 2), count // 2 + 1) / (count // 2) * span


def _common(mine: int, theirs: int, zoom: int) -> tuple[np.ndarray, np.ndarray]:
    """The points two dyadic axes share, as indices of each; theirs is 2^zoom times as long.

    From the centre, in steps of its own, a point of theirs is at an integer j; in steps of mine at j · (their step / my step),
    a power of two. An axis of one point is the centre.
    """
    if 1 in (mine, theirs):
        return np.array([mine // 2]), np.array([theirs // 2])
    ratio = 2.0**zoom * (mine - 1) / (theirs - 1)
    steps = np.arange(theirs) - theirs // 2
    places = steps * ratio
    shared = (places == np.round(places)) & (np.abs(places) <= mine // 2)
    return (places[shared] + mine // 2).astype(int), np.flatnonzero(shared)
