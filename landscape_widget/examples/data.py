"""The data of the examples: handwritten digits and a smooth wave."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """Labelled images: `images` (p, 64) between 0 and 1, row by row; `labels` (p,) from 0 to 9."""

    images: Floats
    labels: Labels


def digits() -> Digits:
    """Return scikit-learn's 1,797 handwritten digits, 8 × 8 pixels, in the order of the file.

    Source: the test part of the UCI set *Optical Recognition of Handwritten Digits* (Alpaydin and
    Kaynak 1998). It is installed with scikit-learn: nothing is downloaded.

    Raises
    ------
    ModuleNotFoundError
        scikit-learn is not installed.
    """
    table = _read_digits()
    return Digits(images=table[:, :64] / 16.0, labels=table[:, 64].astype(np.int64))


def digits_split() -> tuple[Digits, Digits]:
    """Return the training split (1,437 digits) and the test split (360 digits).

    Random and stratified: the digits are shuffled, ordered by label, and every fifth is a test digit,
    so that each class gives a fifth of its members. Both splits keep the order of the file, in which
    the classes are mixed, so that a part of the split is again a fair sample.

    The networks of this package were trained on the first split and never saw the second.
    """
    everything = digits()
    # RandomState, not default_rng: its stream is frozen for all numpy versions (NEP 19). With
    # another stream, test digits would be among those that the shipped weights were trained on.
    order = np.random.RandomState(0).permutation(len(everything.labels))
    order = order[np.argsort(everything.labels[order], kind="stable")]
    is_test = np.zeros(len(order), dtype=bool)
    is_test[order[::5]] = True
    return (
        Digits(everything.images[~is_test], everything.labels[~is_test]),
        Digits(everything.images[is_test], everything.labels[is_test]),
    )


def saddle_digits() -> Digits:
    """Return the first 1,400 digits: the data of `digits_saddle`, whatever the split."""
    everything = digits()
    return Digits(everything.images[:1400], everything.labels[:1400])


def wave(x: npt.ArrayLike) -> Floats:
    """Return sin(3x)·exp(−x²/2), the smooth function that `regression` is fitted to."""
    x = np.asarray(x, dtype=np.float64)
    return np.sin(3 * x) * np.exp(-(x**2) / 2)


def wave_samples() -> tuple[Floats, Floats]:
    """Return 200 points between −2 and 2, (200, 1), and the wave there, (200, 1)."""
    x = np.linspace(-2.0, 2.0, 200)[:, None]
    return x, wave(x)


def _read_digits() -> npt.NDArray[np.float64]:
    """Return the table (1797, 65): 64 pixels between 0 and 16, then the label."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "The digits examples expected scikit-learn, which carries the images, and did not find "
            "it. Install it with: pip install landscape-widget[app]"
        )

    # Reading the file takes milliseconds, `import sklearn.datasets` a second: a third of the time
    # that a demo has for its first surface. Should the file move one day, scikit-learn finds it.
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        return np.loadtxt(file, delimiter=",")

    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return np.column_stack([np.asarray(images), np.asarray(labels)])
