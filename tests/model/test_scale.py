"""Decimal text to integers and back, exactly."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.model.scale import ScaleError, decimal, from_steps, plain, round_half_even, to_steps

INT64 = (1 << 63) - 1
steps = st.integers(-INT64, INT64)
sizes = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent), st.integers(1, 10**12), st.integers(-12, 6)
)


@given(steps, sizes)
def test_steps_survive_the_way_there_and_back(n, size):
    value = from_steps(n, size)
    assert Fraction(value) == n * Fraction(size)
    assert to_steps(value, size) == n
    assert to_steps(plain(value), size) == n


@given(st.integers(-(10**9), 10**9), sizes, st.integers(1, 999))
def test_a_value_off_its_grid_is_an_error_that_names_its_neighbours(n, size, part):
    value = from_steps(1000 * n + part, size / 1000)
    with pytest.raises(ScaleError) as error:
        to_steps(value, size, "price")
    assert plain(from_steps(n, size)) in str(error.value)
    assert plain(from_steps(n + 1, size)) in str(error.value)


@pytest.mark.parametrize(
    ("text", "step", "count"),
    [
        ("0.1", "0.05", 2),
        ("-3", "0.5", -6),
        ("1e3", "10", 100),
        (7, "1", 7),
        (" 2.50 ", "0.25", 10),
        ("0", "3", 0),
    ],
)
def test_text_is_taken_as_people_write_it(text, step, count):
    assert to_steps(text, Decimal(step)) == count


@pytest.mark.parametrize("text", ["", "abc", "1,5", "0x10", "--1", "1 2"])
def test_what_is_no_number_is_an_error_that_shows_it(text):
    with pytest.raises(ScaleError, match="is not a decimal number"):
        decimal(text, "price")


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "sNaN"])
def test_what_is_not_finite_is_an_error(text):
    with pytest.raises(ScaleError, match="not finite"):
        decimal(text)


@pytest.mark.parametrize("value", [1.5, True])
def test_floats_and_truth_values_are_not_taken(value):
    with pytest.raises(TypeError, match="give it as text"):
        to_steps(value, Decimal(1))


@pytest.mark.parametrize(
    "text", ["1e999999999", "1e-999999999", "9223372036854775808", "-9223372036854775808"]
)
def test_a_number_beyond_64_bits_is_an_error_and_not_an_endless_sum(text):
    with pytest.raises(ScaleError, match=r"out of range|not a multiple"):
        to_steps(text, Decimal(1))


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**15))
def test_rounding_is_to_the_nearest_with_ties_to_even(numerator, denominator):
    got = round_half_even(numerator, denominator)
    assert got == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(
    ("value", "text"), [("1E+3", "1000"), ("1.500", "1.5"), ("-0.0", "0"), ("1e-9", "0.000000001")]
)
def test_decimals_are_shown_plainly(value, text):
    assert plain(Decimal(value)) == text
