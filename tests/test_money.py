"""Amounts of money: what is read, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted.money import MAX_USD, NANO, format_usd, nano_usd, pico_per_token, short_usd, to_usd
from budgeted.validation import shown

amounts = st.integers(0, MAX_USD * NANO)


@pytest.mark.parametrize(
    ("value", "nano"),
    [
        (5, 5 * NANO),
        (0, 0),
        (0.1, NANO // 10),
        (-0.0, 0),
        (1e-9, 1),
        (Decimal("0.25"), NANO // 4),
        (Fraction(1, 4), NANO // 4),
        ("5", 5 * NANO),
        ("$5", 5 * NANO),
        (" $ 5.00 ", 5 * NANO),
        ("5 USD", 5 * NANO),
        ("US$5", 5 * NANO),
        ("1_000", 1000 * NANO),
        ("$1,234.56", 1_234_560_000_000),
        (".5", NANO // 2),
        ("1e-3", NANO // 1000),
        (MAX_USD, MAX_USD * NANO),
    ],
    ids=shown,
)
def test_an_amount_is_read_in_every_form_people_have_it_in(value: object, nano: int) -> None:
    assert nano_usd(value) == nano


@pytest.mark.parametrize("value", [True, False, None, b"5", 1j, [5], object()])
def test_what_is_no_amount_is_a_type_error_that_names_it(value: object) -> None:
    with pytest.raises(TypeError, match="max_budget must be a number of USD") as caught:
        nano_usd(value, "max_budget")
    assert repr(value)[:20] in str(caught.value)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (-1, "negative"),
        (-0.5, "negative"),
        ("-5", "negative"),
        ("-$5", "negative"),
        (Decimal("-1e-999999"), "negative"),
        (math.nan, "finite"),
        (-math.inf, "finite"),
        ("nan", "finite"),
        ("-Infinity", "finite"),
        (Decimal("NaN"), "finite"),
        (Decimal("sNaN"), "finite"),
        (MAX_USD + 1, "above"),
        (10**30, "above"),
        (10**5000, "above"),
        (1e300, "above"),
        ("1e400", "above"),
        (Decimal("1e999999"), "above"),
        ("", "must be a number"),
        ("ten", "must be a number"),
        ("1,5", "must be a number"),
        ("1__0", "must be a number"),
        ("5 EUR", "must be a number"),
        ("\u0665", "must be a number"),
        ("5" * 3 + "x" * 1000, "must be a number"),
    ],
    ids=shown,
)
def test_an_amount_out_of_range_or_unreadable_is_a_value_error(value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^cap must .*{complaint}|^cap {complaint}") as caught:
        nano_usd(value, "cap")
    assert len(str(caught.value)) < 200


def test_costs_are_rounded_up_and_limits_down() -> None:
    """Whichever way it errs, it errs on the side of the budget."""
    assert nano_usd("0.0000000011") == 2
    assert nano_usd("0.0000000011", up=False) == 1
    assert nano_usd(Decimal("1e-999999")) == 1
    assert nano_usd(Decimal("1e-999999"), up=False) == 0
    assert nano_usd(Decimal("0e999999")) == 0
    assert nano_usd(Fraction(1, 3)) - nano_usd(Fraction(1, 3), up=False) == 1


def test_the_callers_decimal_context_changes_nothing() -> None:
    """An application may run with three digits, or with every trap set."""
    traps = dict.fromkeys(decimal.Context().flags, True)
    with decimal.localcontext(decimal.Context(prec=3, Emax=3, Emin=-3, traps=list(traps))) as context:
        assert nano_usd("1234.56789") == 1_234_567_890_000
        assert nano_usd(1234.56789) == 1_234_567_890_000
        assert nano_usd(Decimal("1234.56789")) == 1_234_567_890_000
        with pytest.raises(ValueError, match="finite"):
            nano_usd(Decimal("sNaN"))
        assert not any(context.flags.values())


@given(amounts)
def test_money_written_is_money_read(nano: int) -> None:
    """format_usd is exact."""
    assert nano_usd(format_usd(nano)) == nano


@given(st.floats(0, MAX_USD))
def test_a_float_means_the_number_it_prints_as(usd: float) -> None:
    """0.1 is a tenth, not what its bits are."""
    exact = Fraction(repr(usd)) * NANO
    assert nano_usd(usd) == math.ceil(exact)
    assert nano_usd(usd, up=False) == math.floor(exact)


@given(amounts)
def test_to_usd_is_the_nearest_float(nano: int) -> None:
    assert to_usd(nano) == float(Fraction(nano, NANO))


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (123_000, "$0.000123"),
        (500_000_000, "$0.50"),
        (1_234_560_000_000, "$1,234.56"),
        (-NANO, "-$1.00"),
    ],
)
def test_money_is_written_with_two_decimals_or_as_many_as_it_takes(nano: int, text: str) -> None:
    assert format_usd(nano) == text


def test_prices_per_million_become_integer_rates_rounded_up() -> None:
    assert pico_per_token(1) == 1_000_000
    assert pico_per_token("0.0375") == 37_500
    assert pico_per_token(1e-7) == 1
    with pytest.raises(ValueError, match="input must not be negative, got -1"):
        pico_per_token(-1, "input")


@given(st.integers(1, MAX_USD * NANO))
def test_what_a_glance_reads_is_within_one_percent_and_never_nothing(nano: int) -> None:
    read = nano_usd(short_usd(nano))
    assert read
    assert abs(read - nano) * 100 <= nano
    assert short_usd(-nano) == f"-{short_usd(nano)}"


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (91_750, "$0.0000918"),
        (21_349_000, "$0.0213"),
        (999_600_000, "$1.00"),
        (6_040_616_750, "$6.04"),
        (999_995_000_000, "$1,000.00"),
        (1_204_490_000_000, "$1,204"),
    ],
)
def test_an_amount_is_read_at_a_glance(nano: int, text: str) -> None:
    assert short_usd(nano) == text
