"""Limits of every kind come back from every ledger as they were stated."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from ledgers import ALICE, AT, give

from budgeted.ledger.limit_conversion import limit_of, present, spec, spec_of
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.limits.limit import Limit

TEXTS = [
    "$5",
    "$5/day",
    "1,000 tokens/hour",
    "60 calls/minute",
    "20,000 input tokens/minute",
    "5,000,000 output tokens/day",
    "20 tool calls",
    "3 tool calls/day on web_search",
    "$5/rolling day",
    "100,000 tokens/rolling hour",
    "9 calls/rolling 30 days on gpt-5*",
    "$100/month, keep up to $50",
    "1,000 input tokens/week, keep up to 5,000 input tokens",
    "20 tool calls/day on b*, keep up to 1 tool call",
    "$1/day on gpt-5* from 2026-01-15, keep up to $2",
]


def specs(*texts: str) -> list[Any]:
    return [spec(Limit(text), AT, dt.UTC) for text in texts]


def stated(ledger: Any) -> list[str]:
    return [str(limit_of(slot)) for slot in ledger.read(ALICE).slots]


def test_limits_come_back_as_they_were_stated(ledger: Any) -> None:
    give(ledger, ALICE, *specs(*TEXTS))
    assert stated(ledger) == TEXTS
    assert [str(limit_of(slot)) for one in ledger.accounts("u:") for slot in one.slots] == TEXTS


def test_they_are_the_same_when_what_an_account_has_is_given_to_it_again(ledger: Any) -> None:
    give(ledger, ALICE, *specs(*TEXTS))
    version = ledger.read(ALICE).version
    give(ledger, ALICE, *map(spec_of, ledger.read(ALICE).slots))
    assert stated(ledger) == TEXTS
    assert ledger.read(ALICE).version == version


def test_what_a_limit_keeps_is_stated_anew_like_its_amount(ledger: Any) -> None:
    for text in ("$5/day", "$5/day, keep up to $9", "$6/day, keep up to $1", "$6/day"):
        give(ledger, ALICE, *specs(text))
        assert stated(ledger) == [text]


@pytest.mark.parametrize("text", TEXTS)
def test_what_was_spent_is_nothing_at_first_and_later(text: str) -> None:
    ledger = MemoryLedger()
    give(ledger, ALICE, *specs(text))
    (slot,) = ledger.read(ALICE).slots
    for later in (0, 1, 86_400 * 40):
        now = present(slot, AT + later, dt.UTC)
        assert (now.spent, now.held, str(limit_of(now))) == (0, 0, text)
        assert now.start <= AT + later < now.end
