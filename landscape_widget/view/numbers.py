"""Numbers for people to read: few digits, a true minus sign, powers of ten written as such."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits: 0.0123, −2.84, 4.1·10⁻⁷, ∞.

    >>> number(-0.01234), number(4.1e-7, 2), number(1234567.0)
    ('−0.0123', '4.1·10⁻⁷', '1.23·10⁶')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "−∞" if value < 0 else "∞"
    text = f"{value:.{digits}g}"
    exponent = math.floor(math.log10(abs(value))) if value else 0
    if "e" in text or (value and not -4 <= exponent <= 5):
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        text = f"{mantissa}·10{str(int(power)).translate(_SUPERSCRIPTS)}"
    return text.replace("-", "−")


def with_error(value: float, error: float) -> str:
    """A number beside its error, the error with one digit: 2.84 ± 0.002."""
    return f"{number(value)} ± {number(error, 1)}"
