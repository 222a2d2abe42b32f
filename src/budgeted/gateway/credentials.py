"""The keys by which a gateway asks its upstreams: of its own environment, or the caller's, passed through."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final, NamedTuple

from budgeted.gateway import keys
from budgeted.gateway.aws_signature import Signer
from budgeted.gateway.callers import OURS, CallerError
from budgeted.gateway.known_providers import AWS, BEARER, KEYLESS
from budgeted.gateway.outgoing_request import Sign
from budgeted.gateway.upstreams import Upstream
from budgeted.wire.api_endpoints import TOLD_BY
from budgeted.wire.provider_hosts import provider_at

CREDENTIALS: Final = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""Headers in which providers take keys."""

DROPPED: Final = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"),
        *(b"host", b"content-length", b"expect", b"accept-encoding"),
        *(b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"),
    )
)
"""Headers of a request that are about its connection to the gateway (RFC 9110, 7.6.1), or are made anew."""

_OF_ACCOUNT: Final = frozenset(
    (
        *CREDENTIALS,
        *(b"cookie", b"ocp-apim-subscription-key", b"subscription-key", b"xi-api-key", b"x-auth-token"),
        *(b"openai-organization", b"openai-project", b"chatgpt-account-id", b"x-goog-user-project"),
        *(b"x-goog-iam-authorization-token", b"x-goog-iam-authority-selector"),
    )
)
"""Headers that say whose account pays, or which of its projects: of a caller's with a key of its own alone."""

_BESIDE: Final = {"openai": {"openai-organization": "OPENAI_ORG_ID", "openai-project": "OPENAI_PROJECT_ID"}}
"""What goes with the gateway's own key, where its environment has it, as OpenAI's SDK has it."""

_SIGNATURE: Final = b"AWS4-"
"""How a signature of the caller's begins: it is one of what was sent to the gateway, and means nothing beyond."""

_READ: Final = (b"content-type", b"content-encoding", *(name.encode() for name in TOLD_BY))
"""By which it is known here what a request costs: nobody has them left out on the way there."""


class Shown(NamedTuple):
    """What an upstream is shown of a request.

    Args:
        headers: all but those that the client makes.
        sign: what signs it when all else of it is known; None for nothing.
        owned: whether it is asked in the name of whoever runs the gateway, and not of the caller.
    """

    headers: list[tuple[str, str]]
    sign: Sign | None
    owned: bool


class Credentials:
    """What an upstream is shown instead of what the caller has shown.

    Args:
        upstream: which one.
        environment: where its key may be.

    Raises:
        ValueError: a key there cannot be sent; the text names its variable, and does not quote it.
    """

    def __init__(self, upstream: Upstream, environment: Mapping[str, str]) -> None:
        self._upstream = upstream
        self._stated = frozenset(name.encode() for name, _ in upstream.headers)
        self._keyed = not self._stated.isdisjoint(CREDENTIALS)
        self._key = next((found for name in upstream.keys if (found := _read(environment, name))), "")
        signs = upstream.scheme == AWS and not self._key and not self._keyed
        self._signer = Signer(upstream.url, environment) if signs else None
        beside = {} if not self._key else _BESIDE.get(upstream.name, {})
        self._beside = [(name, value) for name, of in beside.items() if (value := _read(environment, of))]
        official = provider_at(upstream.url) == upstream.provider and upstream.provider not in ("", *KEYLESS)
        self._needed = official or self._signer is not None

    async def show(self, given: list[tuple[bytes, bytes]], shown: bytes, target: str) -> Shown:
        """What the upstream is shown.

        Args:
            given: the request's headers as they came, by names in lower case.
            shown: the name of the header that has a key of the gateway's, which goes nowhere.
            target: the path at the upstream.

        Raises:
            CallerError: neither the gateway nor the caller has a key for it.
        """
        sign = None if self._signer is None else await self._signer.ready()
        own = bool(self._key) or sign is not None or self._keyed
        dropped = _dropped(b",".join(value for name, value in given if name == b"connection"))
        found, brought = [], False
        for name, value in given:
            if (
                name in dropped
                or name == shown
                or name in self._stated
                or name.startswith(OURS)
                or keys.holds_one(value)
            ):
                continue
            if own and (name in _OF_ACCOUNT or name.startswith(b"x-amz-")):
                continue
            brought = brought or (name in CREDENTIALS and not value.startswith(_SIGNATURE))
            found.append((name.decode("latin-1"), value.decode("latin-1")))
        found += self._upstream.headers
        if self._key and not self._keyed:
            found += (self._header(target), *self._beside)
        elif not own and not brought and self._needed:
            raise CallerError(401, self._missing(shown))
        return Shown(found, sign, own or not brought or self._upstream.provider in KEYLESS)

    def _header(self, target: str) -> tuple[str, str]:
        """The gateway's own key, in the header where it belongs."""
        scheme = self._upstream.scheme
        # Who imitates OpenAI takes its key there as OpenAI does; Azure takes its own everywhere.
        imitated = scheme != "api-key" and ("/openai/" in target or target.endswith("/chat/completions"))
        if scheme in (BEARER, AWS) or imitated:
            return "authorization", f"Bearer {self._key}"
        return scheme, self._key

    def _missing(self, shown: bytes) -> str:
        """That nobody has a key, and what to do."""
        variable = self._upstream.keys[0] if self._upstream.keys else ""
        where = f"set {variable} where it runs, or " if variable else ""
        if self._signer is not None:
            where = f"have it find AWS's credentials where it runs, or set {variable} there, or "
        how = "send one in its provider's header"
        if shown and shown != b"x-budgeted-key":
            how += ", with the gateway's in x-budgeted-key"
        return f"neither this gateway nor the request has a key for {self._upstream.name}: {where}{how}"


def _read(environment: Mapping[str, str], variable: str) -> str:
    value = environment.get(variable, "").strip()
    if not value.isascii() or not value.isprintable():
        msg = f"{variable} has characters in it that no key has, and no header; set it again"
        raise ValueError(msg)
    return value


# Remembered, as every request asks for it.
@functools.lru_cache(maxsize=256)
def _dropped(connection: bytes) -> frozenset[bytes]:
    """Headers that go no further: of the connection to the gateway, and those that are said to be about it alone.

    Args:
        connection: the header that says so.
    """
    named = (one.strip() for one in connection.lower().split(b","))
    return DROPPED.union(named).difference(_READ)
