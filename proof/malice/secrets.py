"""A password or a token is planted where one belongs, and looked for wherever anything is told."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from budgeted import BudgetManager, LedgerError
from budgeted.ledger import network_ledger
from budgeted.server import ServerSettings, create_app
from proof.malice.checked import require
from proof.trial import Case

PLANTED = [
    "redis://:{}@127.0.0.1:1/0",
    "rediss://user:{}@127.0.0.1:1/0",
    "redis://:{}@127.0.0.1:1/name",
    "postgresql+psycopg://user:{}@127.0.0.1:1/app",
    "postgresql+psycopg://user@127.0.0.1:1/app?password={}",
    "postgresql://user:{}@host:port/app",
    "https://{}@127.0.0.1:1",
    "http://user:{}@127.0.0.1:1",
    "https://host?token={}",
    "https://host#{}",
    "https://host:{}@:port",
    "mysql://user:{}@db/app",
    "mongodb://user:{}@db/app",
    "sqlite://user:{}@host/file",
    "file://user:{}@host/folder",
    "valkey://:{}@host",
    "Redis://:{}@host",
    "redis:{}@host",
    " redis://:{}@host",
    "user:{}@host:6379",
    "https://{} @host",
]


@contextmanager
def _log() -> Iterator[io.StringIO]:
    written, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(written), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def attempt(case: Case, planted: str) -> None:
    """Open a ledger whose URL holds a secret, and look at every word that is told of it."""
    secret = f"planted{case.rng.randrange(10**9)}"
    url = planted.format(secret)
    case.fault("planted secret")
    deadline, network_ledger.RemoteLedger.deadline = network_ledger.RemoteLedger.deadline, 0.2
    told: list[str] = []
    try:
        with _log() as log:
            settings = ServerSettings(ledger=url, tokens=(secret, f"{secret}x"), read_tokens=(f"{secret}y",))
            told += [repr(settings), str(settings), str(settings.__rich_repr__()), repr(create_app(settings))]
            try:
                BudgetManager("secret", max_budget=1, ledger=url).close()
            except LedgerError as error:
                told.append("".join(traceback.format_exception(error)))
                told += [f"{one!r} {one.args}" for one in _causes(error)]
            else:
                require(False, f"no ledger is opened at {planted!r}")
        told.append(log.getvalue())
    finally:
        network_ledger.RemoteLedger.deadline = deadline
    for text in told:
        line = next((line for line in text.splitlines() if secret in line), None)
        require(line is None, f"a secret is told to nobody: {line}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
