"""Whether a request comes from this very machine, and from nobody's page in a browser on it.

It needs no package of a server's: clients of ledgers ask here as well which hosts are loopback's.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

PROXIED: Final = (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip")
"""Headers that tell that a proxy has passed the request on."""

_OF_PAGES_HERE: Final = (b"none", b"same-origin")
"""What a browser says of what a person has typed, and of what our own answers ask for."""


_TELLING: Final = frozenset((*PROXIED, b"host", b"origin", b"sec-fetch-site"))

_LONGEST_HOST: Final = 300
"""Characters: a name has at most 253, and what is asked about is remembered."""


def is_loopback(host: str) -> bool:
    """Whether a host's name or address can only mean this very machine."""
    return len(host) <= _LONGEST_HOST and _is_loopback(host)


@functools.lru_cache(maxsize=256)  # as every request asks
def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def why_not_from_here(server: Sequence[object] | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Why a request may be of somebody elsewhere; None where it is of this machine.

    Args:
        server: the address and the port that it came to, as ASGI has them.
        headers: of the request, by names in lower case.

    Example:
        >>> why_not_from_here(("127.0.0.1", 8788), [(b"host", b"evil.example")])
        'its Host is not this machine'
    """
    if server and server[1] is not None and not is_loopback(str(server[0])):
        return "it came over a network"
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _TELLING:
            found.setdefault(name, []).append(value)
    # The name that it was called by keeps out pages of strangers in a browser here, whose name leads here.
    hosts = found.pop(b"host", [])
    if not hosts or not all(is_loopback(_host(host.decode("latin-1"))) for host in hosts):
        return "its Host is not this machine"
    if not found:  # nearly always
        return None
    origins, sites = found.pop(b"origin", []), found.pop(b"sec-fetch-site", [])
    # Whom a proxy on this machine speaks for, nobody knows.
    if found:
        return "a proxy has passed it on"
    if not all(_is_of_this_machine(origin.decode("latin-1")) for origin in origins):
        return "a page of another origin asks"
    if not origins and any(site not in _OF_PAGES_HERE for site in sites):
        return "a page of another site asks"
    return None


def _host(text: str) -> str:
    """A host without its port: of ``[::1]:80`` and ``localhost:80``."""
    try:
        return "" if "@" in text else urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _is_of_this_machine(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and is_loopback(parts.hostname or "")
