"""Tokens of those who may change everything, and of those who may look at everything."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

WRITE, READ = "BUDGETED_TOKEN", "BUDGETED_READ_TOKEN"
"""The variables that they are in, separated by commas: so that one can be replaced while both are good."""


class Tokens(msgspec.Struct, frozen=True):
    """The tokens of a server, or of a gateway's page.

    Args:
        write: who has one of these may look at everything and change it.
        read: who has one of these may look at everything.

    Raises:
        ValueError: one of them could not be sent in a header. The text does not quote it.
    """

    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        told: tuple[tuple[str, tuple[object, ...]], ...] = ((WRITE, self.write), (READ, self.read))
        for variable, tokens in told:
            for token in tokens:
                if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
                    how = "make one with: openssl rand -hex 32"
                    msg = f"tokens must be printable ASCII without blanks, in {variable} as well; {how}"
                    raise ValueError(msg)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(write={('***',) * len(self.write)}, read={('***',) * len(self.read)})"

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Tokens:
        """The tokens that :data:`WRITE` and :data:`READ` hold.

        Args:
            environment: such as ``os.environ``.

        Raises:
            ValueError: as above.
        """
        write, read = (
            tuple(one.strip() for one in environment.get(name, "").split(",") if one.strip()) for name in (WRITE, READ)
        )
        return cls(write, read)

    @property
    def every(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.write, *self.read)

    def may(self, token: str | None) -> Literal["write", "read", ""]:
        """What the bearer of a token may do: ``"write"`` (and read), ``"read"``, or ``""``: nothing.

        Args:
            token: None for somebody who has none.
        """
        return role_of(token, self.write, self.read)


def role_of(token: str | None, write: Sequence[str], read: Sequence[str]) -> Literal["write", "read", ""]:
    """What the bearer of a token may do, as :meth:`Tokens.may` has it.

    Args:
        token: None for somebody who has none.
        write: who has one of these may change everything.
        read: who has one of these may look at everything.
    """
    given = (token or "").encode("utf-8", "replace")
    # All are compared, so that the time tells nothing.
    writes = [hmac.compare_digest(given, one.encode()) for one in write]
    reads = [hmac.compare_digest(given, one.encode()) for one in read]
    return "write" if any(writes) else "read" if any(reads) else ""
