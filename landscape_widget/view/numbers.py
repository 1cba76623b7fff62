"""Numbers for people to read: few digits, a true minus sign, powers of ten written as such."""

from __future__ import annotations

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits: 0.0123, −2.84, 12300, 4.1·10⁻⁷, ∞.

    >>> number(-0.01234), number(100.0, 1), number(4.1e-7, 2), number(1234567.0)
    ('−0.0123', '100', '4.1·10⁻⁷', '1.23·10⁶')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "−∞" if value < 0 else "∞"
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    exponent = int(power)
    if value == 0:
        text = "0"
    elif -4 <= exponent <= 5:
        text = f"{float(f'{mantissa}e{power}'):.{max(0, digits - 1 - exponent)}f}"
    else:
        text = f"{_trimmed(mantissa)}·10{str(exponent).translate(_SUPERSCRIPTS)}"
    return _trimmed(text).replace("-", "−")


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text and "·" not in text else text


def with_error(value: float, error: float) -> str:
    """A number beside its error, the error with one digit: 2.84 ± 0.002."""
    return f"{number(value)} ± {number(error, 1)}"
