"""How a server is set up: by arguments, or by ``BUDGETED_*`` variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from budgeted.http_server.same_machine import is_loopback
from budgeted.http_server.tokens import Tokens, role_of
from budgeted.ledger.urls import public
from budgeted.limits.periods import zone
from budgeted.manager.settings import check_fsync, check_hold_timeout
from budgeted.page.sessions import SECONDS
from budgeted.validation import shown

MOST_PROJECTS = 200
"""Projects that one server has open."""

_NUMBERS = {"hold_timeout": float, "max_body": int, "max_projects": int, "threads": int, "session_seconds": int}

FILES_OF_PROJECT = 3
"""Files that the ledger of a project in a directory keeps open."""


class ServerSettings(msgspec.Struct, kw_only=True, frozen=True):
    """What a server serves, and to whom.

    Args:
        ledger: where balances are kept, as ``BudgetManager(ledger=...)`` takes it.
        tokens: who sends one of these as ``Authorization: Bearer TOKEN`` may read and write.
        read_tokens: who sends one of these may only read.
        timezone: in which days and months begin, for what people ask and set.
        fsync: of a ledger on disk: ``"background"`` or ``"always"``.
        hold_timeout: seconds after which a hold that nobody ends is charged as uncertain.
        max_body: bytes that a request may have.
        max_projects: projects that may be open at once.
        threads: how many requests may be at the ledger at once.
        session_seconds: how long a session of the page lasts, from 1 second to 12 hours.
    """

    ledger: Any = None
    tokens: tuple[str, ...] = ()
    read_tokens: tuple[str, ...] = ()
    timezone: str = "UTC"
    fsync: str = "background"
    hold_timeout: float = 900.0
    max_body: int = 8 * 2**20
    max_projects: int = MOST_PROJECTS
    threads: int = 40
    session_seconds: int = SECONDS

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Without the tokens, and the ledger without its password: what is printed may end in a log."""
        hidden = {name: ("***",) * len(getattr(self, name)) for name in ("tokens", "read_tokens")}
        ledger = public(self.ledger) if isinstance(self.ledger, str) else self.ledger
        return list({**msgspec.structs.asdict(self), **hidden, "ledger": ledger}.items())

    def __post_init__(self) -> None:
        zone(self.timezone)
        check_fsync(self.fsync)
        check_hold_timeout(self.hold_timeout)
        _check_whole(self, "max_body", "max_projects", "threads", "session_seconds")
        if self.session_seconds > SECONDS:
            msg = f"session_seconds must be at most {SECONDS}, which is 12 hours, got {self.session_seconds}"
            raise ValueError(msg)
        Tokens(self.tokens, self.read_tokens)  # which looks at them

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ServerSettings:
        """The settings that ``BUDGETED_LEDGER``, ``BUDGETED_TOKEN``, ``BUDGETED_READ_TOKEN``, ... make.

        Several tokens are separated by commas, so that one can be replaced while both serve.

        Args:
            environment: where they are; None for ``os.environ``.

        Raises:
            ValueError: a variable makes no sense; the text quotes it, unless it is a token.
        """
        found = os.environ if environment is None else environment
        given: dict[str, Any] = {}
        for name in ("ledger", "timezone", "fsync"):
            if value := found.get(f"BUDGETED_{name.upper()}"):
                given[name] = value
        for name, kind in _NUMBERS.items():
            variable = f"BUDGETED_{name.upper()}"
            if value := found.get(variable):
                try:
                    given[name] = kind(value)
                except ValueError:
                    msg = f"{variable}={shown(value)} must be a number"
                    raise ValueError(msg) from None
        tokens = Tokens.of_environment(found)
        return cls(tokens=tokens.write, read_tokens=tokens.read, **given)

    @property
    def open(self) -> bool:
        """Whether whoever reaches the server may do everything."""
        return not (self.tokens or self.read_tokens)

    def check_host(self, host: str) -> None:
        """Refuse to serve others than this machine without tokens.

        Args:
            host: a name or an address to listen on.

        Raises:
            ValueError: there are none, and the address is not of the loopback.
        """
        if self.open and not is_loopback(host):
            msg = (
                f"on {host} everybody who reaches this server could read and change all budgets; set BUDGETED_TOKEN "
                f"(for example to the output of `openssl rand -hex 32`), or listen on 127.0.0.1"
            )
            raise ValueError(msg)

    def may(self, token: str | None) -> Literal["write", "read", ""]:
        """What the bearer of a token may do: ``"write"`` (and read), ``"read"``, or ``""``: nothing.

        Args:
            token: what was shown; None for none.
        """
        return "write" if self.open else role_of(token, self.tokens, self.read_tokens)


def _check_whole(settings: msgspec.Struct, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            msg = f"{name} must be a whole number from 1 on, got {shown(value)}"
            raise ValueError(msg)
