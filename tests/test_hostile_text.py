"""Text that is written to be slow to read, or to pass for something else, is refused at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from budgeted import BudgetManager, Limit

SECONDS = 0.5
"""Far more than any of these takes, and far less than it takes where many ways to read it are tried."""

MANY = 8_000


def seconds(read: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    with pytest.raises((ValueError, TypeError)):
        read(text)
    return time.process_time() - began


SLOW = [
    pytest.param(text, id=name)
    for name, text in {
        "blanks": " " * MANY,
        "blanks behind a number": "1" + " " * MANY + "x",
        "blanks behind a sign": "$" + " " * MANY,
        "all kinds of blanks": "\t \n" * MANY,
        "digits": "1" * MANY + "x",
        "groups of digits": "1,000" * MANY + "x",
        "numbers": "1 " * MANY,
        "limits": "$1 + " * MANY,
        "words": "abc " * MANY,
        "periods": "$1 per " + " " * MANY + "x",
        "models": "$1/day on " + "*a" * MANY,
    }.items()
]


@pytest.mark.parametrize("text", SLOW)
def test_amounts_and_limits_are_read_in_no_time_however_long_they_are(text: str) -> None:
    assert seconds(Limit, text) < SECONDS
    with BudgetManager("slow", ledger="memory://") as manager:
        assert seconds(lambda cost: manager.hold(cost=cost), text) < SECONDS


@pytest.mark.parametrize("blank", [" ", "\t", "\n"])
@pytest.mark.parametrize("text", ["", "1", "$1 per", "$1/day on", "$1 +", "1 call/"])
def test_a_limit_of_as_many_blanks_as_one_may_have_is_read_in_no_time(text: str, blank: str) -> None:
    assert seconds(Limit, text + blank * (998 - len(text)) + ",") < SECONDS


CONTROLS = ["\n", "\r\n", "\0", "\x1b[31m", "\x7f", "\x85", "\u2028"]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("form", ["{}", "name{}", "{}name", "na{}me"])
def test_no_users_keys_or_projects_name_holds_a_control_character_wherever_it_stands(control: str, form: str) -> None:
    name: Any = form.format(control)
    with BudgetManager("names", ledger="memory://", unpriced="free") as manager:
        for refused in (
            lambda: manager.budget(name),
            lambda: manager.budget("alice", cap=1, key=name),
            lambda: manager.create_budget(1, name),
            lambda: manager.set_limits(name, "$1"),
            lambda: manager.hold(cost=1, user=name),
            lambda: BudgetManager(name, ledger="memory://"),
        ):
            with pytest.raises(ValueError, match="control characters"):
                refused()
