"""Eigenvalues that repeat: a run from one vector sees each of them once; another random vector shows the copies."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from landscape_widget.engine import lanczos, ritz
from landscape_widget.engine.bounds import absent
from landscape_widget.engine.lanczos import LanczosState, SymmetricOperator
from landscape_widget.engine.ritz import Beside

# Products that looking for copies takes at least where several pairs are wanted, and at most where there are none: so
# many, and so much of those made already.
_LEAST, _MOST, _SHARE = 4, 6, 1 / 8


def search(
    operator: SymmetricOperator, state: LanczosState, k: int, *, tol: float, seed: int, max_matvecs: int
) -> Generator[None, None, Beside]:
    """Look for copies of the k pairs at each end of a run that has converged, until none is left or the budget is spent.

    A start vector's part in an eigenspace is one vector: all others there are orthogonal to the whole run, up to
    round-off, which brings a copy in after many more products. So another random vector, orthogonal to what has
    converged, starts a run of its own. In it a copy of a wanted value, or anything beyond, comes up soon; or the
    recurrence rules it out. Outliers take two to four products, values at the edge of a bulk as many as the run
    itself: these are left undecided.

    Parameters
    ----------
    seed
        Of the random vectors: another stream than the run's.
    max_matvecs
        Budget of products.

    Yields
    ------
    None
        After every product. The run must not go on meanwhile.
    """
    found = Beside.nothing(state, k, unique=state.size >= state.basis.num_entries)
    generator = torch.Generator("cpu").manual_seed(seed)
    while max_matvecs > 0 and state.size + len(found.values) < state.basis.num_entries:
        look = _Look.of(state, k, tol, found)
        if not look.is_worth_it:
            break
        needed = min(look.most, max_matvecs, state.basis.num_entries - state.size - len(found.values))
        if state.basis.capacity - state.size - len(found.values) < needed and state.size >= 4 * k:
            # Half of a full basis holds the wanted pairs as well.
            lanczos.restart(state)
            look = _Look.of(state, k, tol, found)
        if state.basis.capacity <= state.size + len(found.values):
            break
        converged = ritz.is_below(state.residuals(), state.ritz()[0], tol, state.noise)
        probe = lanczos.beside(state, np.flatnonzero(converged), found.vectors, generator)
        for _ in look.steps(operator, probe, max_matvecs):
            max_matvecs -= 1
            yield
        found, more = look.added(probe)
        lanczos.leave(state)
        if not more:
            break
    return found


@dataclass
class _Look:
    """One look for more than was found: the wanted pairs as they are known, and what a run beside them shows."""

    state: LanczosState
    k: int
    tol: float
    found: Beside
    values: np.ndarray
    """The wanted ones, shape (2k,): the largest and then the smallest, from the outside inwards."""
    limits: tuple[float, float]
    """A pair above or below, beyond what the residuals explain, is one of the wanted ones."""
    apart: np.ndarray
    """Which of the wanted ones would be called isolated if there were no copies."""
    unique: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))

    @classmethod
    def of(cls, state: LanczosState, k: int, tol: float, found: Beside) -> _Look:
        pick = ritz.wanted(state, k, found)
        values = np.r_[state.ritz()[0], found.values][pick]
        residuals = np.r_[state.residuals(), found.residuals][pick]
        margins = ritz.margins(state, values, tol)
        upper = values[k - 1] + margins[k - 1] + np.linalg.norm(residuals[:k])
        lower = values[-1] - margins[-1] - np.linalg.norm(residuals[k:])
        apart = ritz.stands_apart(state, found, values, residuals)
        return cls(state, k, tol, found, values, (float(lower), float(upper)), apart, np.zeros(2 * k, dtype=bool))

    @property
    def is_worth_it(self) -> bool:
        """Whether copies would change anything: which pairs are the wanted ones, or whether one is isolated."""
        return bool(self.apart.any() or self.values[0] > self.limits[1] or self.values[self.k] < self.limits[0])

    @property
    def most(self) -> int:
        return max(_MOST, int(_SHARE * self.state.num_matvecs))

    def steps(self, operator: SymmetricOperator, probe: LanczosState, budget: int) -> Iterator[None]:
        """Products until it is known what there is to know, or too many."""
        margins = ritz.margins(self.state, self.values, self.tol)
        room = self.state.basis.capacity - probe.locked
        for _ in range(min(budget, room)):
            lanczos.step(operator, probe)
            yield
            self.unique |= absent(probe, self.values, margins)
            beyond, converged = self._beyond(probe)
            if beyond.any():
                if converged[beyond].all():
                    return
                continue
            # Where there was one copy there are more, which take their time.
            decided = not len(self.found.values) and self.unique[self.apart].all()
            if (
                (decided and (self.k == 1 or probe.size >= _LEAST))
                or probe.size >= self.most
                or probe.origin == probe.size
            ):
                return

    def added(self, probe: LanczosState) -> tuple[Beside, bool]:
        """What was found before and by the probe, and whether there may be more."""
        beyond, converged = self._beyond(probe)
        new, missing = np.flatnonzero(beyond & converged), probe.ritz()[0][beyond & ~converged]
        weights = np.zeros((len(new), probe.locked + probe.size))
        weights[:, probe.locked :] = probe.ritz()[1][:, new].T
        vectors = self.state.basis.combine(torch.as_tensor(weights))
        found = replace(
            self.found,
            values=np.r_[self.found.values, probe.ritz()[0][new]],
            vectors=torch.cat([self.found.vectors, vectors]),
            residuals=np.r_[self.found.residuals, probe.residuals()[new]],
            unique=self.unique,
        )
        if beyond.any():
            # Of the pairs that are wanted now nothing is ruled out yet.
            pick = ritz.wanted(self.state, self.k, found)
            values = np.r_[self.state.ritz()[0], found.values][pick]
            above, below = missing.max(initial=-np.inf), missing.min(initial=np.inf)
            placed = np.r_[values[: self.k] >= above, values[self.k :] <= below]
            found = replace(found, unique=np.zeros(2 * self.k, dtype=bool), placed=placed)
        return found, len(new) > 0

    def _beyond(self, probe: LanczosState) -> tuple[np.ndarray, np.ndarray]:
        """Which of the probe's pairs are beyond the limits, and which have converged."""
        values, (lower, upper) = probe.ritz()[0], self.limits
        converged = ritz.is_below(probe.residuals(), values, self.tol, self.state.noise)
        return (values < lower) | (values > upper), converged
