"""Every test that takes ``ledger`` runs on each kind of ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from budgeted.ledger.journal import JournalLedger
from budgeted.ledger.memory import MemoryLedger

KINDS: dict[str, Callable[[Path], Any]] = {
    "memory": lambda directory: MemoryLedger(),
    "journal": JournalLedger,
    "journal-fsync": lambda directory: JournalLedger(directory, fsync="always"),
}


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A new ledger of each kind."""
    made = KINDS[request.param](tmp_path / "ledger")
    yield made
    made.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a ledger may be kept."""
    return tmp_path / "ledger"


@pytest.fixture
def journal(directory: Path) -> Iterator[JournalLedger]:
    """A new ledger on disk."""
    made = JournalLedger(directory)
    yield made
    made.close()
