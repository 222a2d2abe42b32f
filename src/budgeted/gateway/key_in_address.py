"""Keys in the address of a request, where no key belongs: of a gateway, or of a provider."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus, unquote_to_bytes

from budgeted.gateway import keys
from budgeted.gateway.callers import CallerError

_QUERIED: Final = frozenset(
    (
        "key api_key api-key apikey x-api-key x-goog-api-key x-budgeted-key subscription-key access_token authorization"
    ).split()
)
"""What a key is called in the queries of addresses."""


def refuse_key_in_address(path: str, query: bytes) -> None:
    """Refuse a request whose address holds a key, which every server on its way may write into a log.

    Args:
        path: of the address, as it was sent.
        query: of the address, without the question mark.

    Raises:
        CallerError: it does; the text does not quote it.
    """
    if not query and keys.PREFIX not in path and "%" not in path:
        return
    names = {unquote_plus(one.partition(b"=")[0].decode("latin-1")).lower() for one in re.split(b"[&;]", query)}
    whole = path.encode("latin-1", "replace") + b"?" + query
    once = unquote_to_bytes(whole)
    # Decoded twice as well, as whoever is behind a proxy may do.
    if not names.isdisjoint(_QUERIED) or any(map(keys.holds_one, (whole, once, unquote_to_bytes(once)))):
        problem = "a key in an address ends up in logs; send it in a header, and replace it, as it may be in one by now"
        raise CallerError(400, problem)
