"""Asking upstreams: the connections to them, which all requests share."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from budgeted.gateway.outgoing_request import Outgoing
from budgeted.gateway.refusals import Refusal

LONGEST_HEADER: Final = 65_536
"""Bytes of a header of an upstream's answer."""

KEPT_SECONDS: Final = 30.0
"""How long an unused connection is kept."""


class NoAnswerError(aiohttp.ClientError):
    """What came from an upstream is no answer."""


class Connections:
    """The connections to all upstreams.

    Args:
        connect_seconds: how long one may take to be made.
        silence_seconds: how long an upstream may send nothing.
    """

    def __init__(self, connect_seconds: float, silence_seconds: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=silence_seconds)
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str | None] = {}

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),  # what one caller is given is no other's
                timeout=self._timeout,
                auto_decompress=False,
                skip_auto_headers=("Accept", "Content-Type", "User-Agent"),
                max_line_size=LONGEST_HEADER,
                max_field_size=LONGEST_HEADER,
            )
        return self._session

    async def ask(self, out: Outgoing) -> aiohttp.ClientResponse:
        """An upstream's answer, of which the head has come. Once more, where no connection could be made.

        Args:
            out: what is asked.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError: there is none, or none that is HTTP.
        """
        try:
            response = await self._ask(out)
        except aiohttp.ClientConnectorError:
            if out.body is not None and not isinstance(out.body, bytes):  # it can be read once
                raise
            response = await self._ask(out)
        if not 200 <= response.status <= 599:  # also where it speaks something else from now on, which nobody asked for
            response.close()
            raise NoAnswerError(f"the status {response.status} is none of an answer")
        return response

    async def _ask(self, out: Outgoing) -> aiohttp.ClientResponse:
        url = URL(f"{out.origin}{out.target}{out.query}", encoded=True)
        if out.origin not in self._proxies:  # looked up once: it takes a while, and the environment stays as it is
            self._proxies[out.origin] = _proxy_to(out.origin)
        return await self._opened().request(
            *(out.method, url),
            headers=out.headers if out.sign is None else out.sign(out),
            data=out.body,
            allow_redirects=False,
            proxy=self._proxies[out.origin],
        )

    async def close(self) -> None:
        """End them."""
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)  # of those with TLS, the last bytes are sent in the next turn


def _proxy_to(origin: str) -> str | None:
    """The proxy that the environment names for an upstream (``HTTPS_PROXY``, ``NO_PROXY``); None for none."""
    parts = urlsplit(origin)
    if proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme) or None


def refusal_of(error: BaseException) -> Refusal:
    """What whoever asked is told where an upstream has no answer.

    Args:
        error: aiohttp's, or the system's.
    """
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return Refusal(502, "the upstream cannot be reached; nothing was sent", final=False)
    if isinstance(error, TimeoutError):
        return Refusal(504, "the upstream has not answered in time; what it may have cost is charged", final=False)
    if isinstance(error, (aiohttp.ClientResponseError, NoAnswerError)):
        text = "the upstream has answered by no HTTP that can be read; what that may have cost is charged"
    else:
        text = "the upstream broke the connection before it had answered; what that may have cost is charged"
    return Refusal(502, text, final=False)
