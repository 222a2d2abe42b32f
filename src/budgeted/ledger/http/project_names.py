"""Which projects a server of ours has."""

from __future__ import annotations

import time

import msgspec

from budgeted.errors import LedgerError
from budgeted.ledger.http.connections import library, no_auth
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
    try:
        httpx = library()
    except LedgerError:
        return None
    found: list[str] = []
    until = time.monotonic() + seconds
    try:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(headers=headers, timeout=seconds, auth=no_auth) as client:
            while time.monotonic() < until:
                after = {"after": found[-1]} if found else {}
                answer = client.get(f"{address.base}/v1/projects", params={"count": MOST, **after})
                if answer.status_code != 200:
                    return None
                page = msgspec.json.decode(answer.content, type=list[str])
                found += page
                if len(page) < MOST:
                    return found
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError, UnicodeError, OSError):
        pass  # opening the ledger tells what is wrong
    return None
