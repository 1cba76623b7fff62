from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape_widget.view.numbers import number, with_error


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 3, "0"),
        (-0.0, 3, "0"),
        (2.84, 3, "2.84"),
        (-1.0, 3, "−1"),
        (99.96, 3, "100"),
        (100.0, 1, "100"),
        (100.0, 2, "100"),
        (12345.6, 3, "12300"),
        (999999.0, 3, "1·10⁶"),
        (0.0001234, 3, "0.000123"),
        (0.00001234, 3, "1.23·10⁻⁵"),
        (-4.1e-7, 2, "−4.1·10⁻⁷"),
        (1e300, 1, "1·10³⁰⁰"),
        (float("inf"), 3, "∞"),
        (float("-inf"), 3, "−∞"),
        (float("nan"), 3, "not a number"),
    ],
)
def test_numbers_as_people_write_them(value: float, digits: int, text: str):
    assert number(value, digits) == text


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 6))
def test_a_number_says_its_value_to_so_many_digits(value: float, digits: int):
    text = number(value, digits)
    assert not re.search(r"[-e]", text)
    plain = text.replace("−", "-").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")).replace("·10", "e")
    assert float(plain) == pytest.approx(float(f"{value:.{digits - 1}e}"), rel=1e-9, abs=0)


def test_an_error_has_one_digit():
    assert with_error(2.84, 0.00216) == "2.84 ± 0.002"
    assert with_error(-1234.5, 17.0) == "−1230 ± 20"
