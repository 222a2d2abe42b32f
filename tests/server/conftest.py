"""What the tests of the server share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import READER, TOKEN, Asking, Serving


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    with Serving(ledger=str(tmp_path / "served"), tokens=(TOKEN,), read_tokens=(READER,), max_body=100_000) as one:
        yield one


@pytest.fixture
def ask(serving: Serving) -> Iterator[Asking]:
    with Asking(serving.url) as asking:
        yield asking
