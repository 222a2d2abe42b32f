"""The keys by which a gateway asks its upstreams: of its own environment, or the caller's, passed through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from budgeted.gateway import keys
from budgeted.gateway.callers import OURS
from budgeted.gateway.upstreams import AWS, BEARER, Upstream

CREDENTIALS: Final = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""Headers in which providers take keys."""

_OF_AWS: Final = (b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256")

DROPPED: Final = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"),
        *(b"host", b"content-length", b"expect", b"accept-encoding"),
        *(b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"),
    )
)
"""Headers of a request that are about its connection to the gateway (RFC 9110, 7.6.1), or are made anew."""


class Credentials:
    """What an upstream is shown instead of what the caller has shown.

    Args:
        upstream: which one.
        environment: where its key may be.

    Attributes:
        own: whether the gateway has a key of its own for it; else the caller's passes through.
    """

    def __init__(self, upstream: Upstream, environment: Mapping[str, str]) -> None:
        key = next((found for name in upstream.keys if (found := environment.get(name, "").strip())), "")
        name = "authorization" if upstream.scheme in (BEARER, AWS) else upstream.scheme
        text = f"Bearer {key}" if name == "authorization" else key
        self._header = (name, text) if key else None
        self.own = bool(key)

    def headers(self, given: list[tuple[bytes, bytes]], shown: bytes) -> list[tuple[str, str]]:
        """The headers of a request as they go to the upstream.

        Args:
            given: as they came, by names in lower case.
            shown: the name of the header that has the gateway's own key, which goes nowhere.
        """
        found = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in given
            if name not in DROPPED
            and name != shown
            and not name.startswith(OURS)
            and not keys.holds_one(value)  # in another header as well, or another one
            and not (self.own and (name in CREDENTIALS or name in _OF_AWS))
        ]
        if self._header is not None:
            found.append(self._header)
        return found
