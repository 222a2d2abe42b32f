"""Any sequence of verbs on every ledger, by processes that come, go, die and fork, against a plain model.

The machine and the model are those of the tests (``tests/ledger/ledger_machine.py``), with more and longer examples.
After every step all invariants of ``plain_model.INVARIANTS`` are looked at; a violation names the one. Each step is a
case; it is repeated with those before it.
"""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from ledger_machine import machine

from proof.trial import Case, Trial

SHORT, LONG = 20.0, 240.0

SHARES = {
    "memory": 0.1,
    "sliced": 0.1,
    "journal": 0.18,
    "whole-journal": 0.08,
    "sqlite": 0.14,
    "postgresql": 0.14,
    "redis": 0.13,
    "http": 0.13,
}
"""Of the part's seconds, by kind of ledger."""

EXAMPLES, FEWER_EXAMPLES = 12, 3
"""Sequences of verbs in a case, and where a server has to answer each; the first is as simple as can be."""

SERVED = ("postgresql", "redis", "http")


def run(trial: Trial) -> None:
    """Try sequences of verbs on each kind of ledger."""
    logging.getLogger("budgeted").setLevel(logging.CRITICAL)
    for kind, share in SHARES.items():
        try:
            trial.random_cases(kind, lambda case: attempt(case, trial), share)
        except pytest.skip.Exception as reason:
            trial.left_out(f"{kind}: {reason}")


def attempt(case: Case, trial: Trial) -> None:
    """Some examples of one kind of ledger. A case that is repeated alone is made as short as it can be."""
    kind, steps = case.subject, -1  # the case itself is counted

    def tell(what: str) -> None:
        nonlocal steps
        if what == "step":
            steps += 1
        elif what != "example":
            trial.fault(what)

    tried = machine(kind, tell)
    tried._hypothesis_internal_use_seed = case.rng.getrandbits(32)
    run_state_machine_as_test(
        tried,
        settings=settings(
            max_examples=FEWER_EXAMPLES if kind in SERVED else EXAMPLES,
            stateful_step_count=60 if trial.long else 30,
            phases=[Phase.generate, Phase.shrink] if trial.only else [Phase.generate],
            database=None,
            deadline=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    trial.case(kind, steps)
