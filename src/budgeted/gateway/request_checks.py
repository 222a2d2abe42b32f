"""What is no request for anybody behind a gateway, by its method and its headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

from budgeted.gateway.refusals import Refusal
from budgeted.http_server.same_machine import why_not_from_here
from budgeted.wire.api_endpoints import TOLD_BY

METHODS: Final = frozenset(("GET", "HEAD", "DELETE", "PUT", "PATCH", "POST"))
"""Those that are sent on."""

_OVERRIDES: Final = frozenset((b"x-http-method-override", b"x-http-method", b"x-method-override"))


_ONCE: Final = (
    *(b"content-type", b"content-encoding", b"content-length", b"host", b"anthropic-version"),
    *(name.encode() for name in TOLD_BY),
)
"""Headers of which one decides what a request costs, or where it goes."""


def problem(scope: Scope, headers: Mapping[bytes, bytes]) -> Refusal | None:
    """What is wrong with a request; None if it may be looked at.

    Args:
        scope: ASGI's.
        headers: the last of each name.
    """
    method = scope["method"]
    if b"upgrade" in headers and method == "GET":
        return Refusal(426, "no WebSocket is served here, as nobody could tell its cost; ask over HTTP")
    if method not in METHODS:
        return Refusal(405, "only GET, HEAD, POST, PUT, PATCH and DELETE are sent on")
    if len(scope["headers"]) != len(headers):
        names = [name for name, _ in scope["headers"]]
        for name in _ONCE:
            if names.count(name) > 1:
                text = f"the header {name.decode()} is there {names.count(name)} times, and one decides; send one"
                return Refusal(400, text)
    if not _OVERRIDES.isdisjoint(headers):
        return Refusal(400, "a header says that another method is meant; ask with that method")
    return None


def stranger(scope: Scope) -> Refusal | None:
    """Why a request is refused by a gateway that wants no keys; None for one of this very machine.

    Args:
        scope: ASGI's.
    """
    why = why_not_from_here(scope.get("server"), scope["headers"])
    if why is None:
        return None
    return Refusal(403, f"a gateway without keys serves its own machine alone: {why}; start it without --open")
