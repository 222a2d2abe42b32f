"""Bars of limits in a terminal: they can be read without colours, and say nothing that is not so."""

from __future__ import annotations

import pytest

from budgeted.cli.bars import BLOCKS, NEARLY, PLAIN, REFUSED, SPENT, bar, bar_and_share, marks_for
from budgeted.manager.balances import Balance


def of(spent: float, held: float, limit: float) -> Balance:
    return Balance(limit, spent, held, max(0.0, limit - spent - held))


@pytest.mark.parametrize(
    ("balance", "drawn"),
    [
        (of(0, 0, 10), ".........."),
        (of(3, 2, 10), "###==....."),
        (of(1e-9, 0, 1e9), "#........."),
        (of(0, 1e-9, 1e9), "=........."),
        (of(1e9 - 1, 0, 1e9), "#########."),
        (of(10, 0, 10), "##########"),
        (of(10, 1, 10), "#########="),
        (of(0, 0, 0), "##########"),
        (Balance(None, 5, 0, None), ""),
    ],
)
def test_a_bar_shows_what_is_spent_held_and_left(balance: Balance, drawn: str) -> None:
    assert bar(balance, PLAIN, 10).plain == drawn


@pytest.mark.parametrize(
    ("spent", "colour"),
    [(7.9, SPENT), (8, NEARLY), (9.99, NEARLY), (10, REFUSED)],
)
def test_its_colour_says_how_near_the_limit_is(spent: float, colour: str) -> None:
    assert bar(of(spent, 0, 10)).spans[0].style == colour


def test_streams_without_blocks_get_plain_characters() -> None:
    assert marks_for("utf-8") == marks_for("cp437") == BLOCKS
    assert marks_for("ascii") == marks_for("latin-1") == marks_for("nonsense") == PLAIN


@pytest.mark.parametrize(
    ("spent", "told"),
    [(0, "  0%"), (1e-9, " <1%"), (0.1, "  1%"), (5, " 50%"), (9.999999, " 99%"), (10, "100%"), (11.35, "113%")],
)
def test_the_share_behind_it_is_all_of_it_only_where_nothing_is_left(spent: float, told: str) -> None:
    assert bar_and_share(of(spent, 0, 10), PLAIN, 10).plain[-5:] == f" {told}"
