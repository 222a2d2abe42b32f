"""Which ledger a file belongs to, and to which of its lives: what tells a ledger from another, and from its own past.

A ledger is given an identity when it is made. Each time that it is written anew from what somebody knew, because its
files were lost or damaged, a new generation begins; it says how far each earlier one was known.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import NamedTuple

from budgeted.system import current as system

Position = tuple[int, int]
"""A segment's number and an offset in it."""


class Origin(NamedTuple):
    """A ledger's identity and generation.

    Attributes:
        ledger: 32 hex digits; "" in files of versions that knew no identity.
        ends: where each earlier generation ended, as far as it was known to who began the next.
    """

    ledger: str = ""
    ends: tuple[Position, ...] = ()

    @property
    def generation(self) -> int:
        """How often the ledger was written anew."""
        return len(self.ends)


class Known(NamedTuple):
    """How far a process has read a ledger: what stands there may not be less."""

    origin: Origin
    segment: int
    offset: int
    crc: int

    @property
    def position(self) -> Position:
        """Up to where it has read."""
        return self.segment, self.offset


def new_origin() -> Origin:
    """That of a ledger which is made now."""
    return Origin(secrets.token_hex(16))


def boot_id() -> bytes:
    """16 bytes that change each time the machine starts; zeros where it does not tell."""
    text = system.boot()
    return hashlib.blake2b(text.encode(), digest_size=16).digest() if text else bytes(16)
