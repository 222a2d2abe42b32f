"""A proof that finds nothing has to be able to find: ledgers are broken here on purpose."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from proof.parts import model, simulator
from proof.simulation import network, system
from proof.trial import Case, Enough, Trial

from budgeted.ledger.journal import torn_ends
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory.ledger import MemoryLedger

pytestmark = pytest.mark.slow


@pytest.fixture
def machine() -> Iterator[None]:
    with system.installed():
        yield


def found(directory: Path, subject: str, only: str | None = None) -> list[str]:
    """What the simulator finds first, in a minute at most."""
    told: list[str] = []
    trial = Trial("simulator", "", 0, 60, directory, only=only, tell=told.append)

    def attempt(case: Case) -> None:
        if told:
            raise Enough
        simulator.attempt(case)

    with contextlib.suppress(Enough):
        trial.random_cases(subject, attempt)
    return told


def test_a_sync_that_is_left_out_is_found_and_found_again(
    machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JournalLedger, "_sync_written", lambda ledger: None)
    [text] = found(tmp_path, "power")
    assert "invariant 7 is violated (nothing is acknowledged before it is kept" in text
    case = text.rpartition("--case ")[2]
    assert found(tmp_path, "power", only=case) == [text]


def test_half_a_line_that_is_not_cut_off_is_found(
    machine: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torn_ends, "cut_off", lambda *args, **more: None)
    assert "invariant 8 is violated" in found(tmp_path, "kills")[0]


def test_a_hold_that_is_made_twice_on_a_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = MemoryLedger.hold

    def forgetful(ledger: MemoryLedger, id: str, *args: object) -> object:
        if ledger._state.holds.pop(id, None) is None:
            ledger._state.charges.latest.pop(id, None)
        return hold(ledger, id, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryLedger, "hold", forgetful)
    told: list[str] = []
    trial = Trial("simulator", "", 0, 60, tmp_path, tell=told.append)
    with pytest.raises(Enough), network.installed():
        simulator.try_network(trial, 1.0)
    assert "invariant" in told[0]


def test_a_release_that_is_forgotten_is_found_by_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryLedger, "release", lambda ledger, id, at: id in ledger._state.holds)
    told: list[str] = []
    trial = Trial("model", "", 0, 60, tmp_path, tell=told.append)
    with pytest.raises(Enough):
        trial.random_cases("memory", lambda case: model.attempt(case, trial))
    assert "invariant 6 is violated (every hold ends settled, released or charged" in told[0]
