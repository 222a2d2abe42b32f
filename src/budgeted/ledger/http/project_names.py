"""Which projects a server of ours has."""

from __future__ import annotations

import contextlib
import time
from urllib.parse import urlencode, urlsplit

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.http.connections import connections_to
from budgeted.ledger.http.server_address import Address, token_from_environment

MOST = 10_000
"""Names that are asked for at once."""


def project_names(url: str, seconds: float) -> list[str] | None:
    """The projects behind a URL, in order.

    Args:
        url: as ``ledger=`` takes it.
        seconds: how long it may take.

    Returns:
        None where that is not told: nothing answers in time, the token is not one of its, or it is an older server.

    Raises:
        LedgerError: the URL cannot be read.
    """
    address = Address(url)
    token = address.token or token_from_environment() or ""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    found: list[str] = []
    until = time.monotonic() + seconds
    try:
        with contextlib.closing(connections_to(urlsplit(address.base), headers)) as connections:
            while (left := until - time.monotonic()) > 0:
                query = {"count": MOST, **({"after": found[-1]} if found else {})}
                status, content = connections.ask(f"/v1/projects?{urlencode(query)}", None, {}, left)
                if status != 200:
                    return None
                page = msgspec.json.decode(content, type=list[str])
                found += page
                if len(page) < MOST:
                    return found
    except (LedgerError, OSError, msgspec.DecodeError):
        pass  # opening the ledger tells what is wrong
    return None
