"""The page on several hosts: its program, run on two of them, spends one limit, wherever the ledger is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import redis_server
from page_examples import ROOT, examples, run
from servers import http_url, postgres_url, project

from budgeted.testing import SimulatedProvider

PAGE = ROOT / "docs" / "how-to" / "several-hosts.md"


@pytest.mark.slow
@pytest.mark.parametrize(
    "ledger",
    [
        pytest.param(lambda: redis_server.shared().url, id="redis"),
        pytest.param(postgres_url, id="postgresql"),
        pytest.param(http_url, id="http"),
    ],
)
def test_what_one_host_has_spent_the_next_one_sees(
    ledger: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "BUDGETED_LEDGER", ledger())
    [program] = examples(PAGE)
    program = program.replace('"shop"', repr(project()))
    with SimulatedProvider() as provider:
        for name in ("host-1", "host-2"):
            (tmp_path / name).mkdir()
            done = run(program, provider, tmp_path / name)
            assert done.returncode == 0, done.stderr
            billed = sum(call.nano_usd for call in provider.bill) / 1e9
            assert done.stdout == f"spent on all hosts: ${billed:.6f}\n"
    assert len(provider.bill) == 2
