"""What the requests to a gateway share."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from budgeted.gateway import free_paths
from budgeted.gateway.callers import Callers
from budgeted.gateway.credentials import Credentials, Shown
from budgeted.gateway.settings import GatewaySettings
from budgeted.gateway.traces import Traces
from budgeted.gateway.upstream_requests import Connections
from budgeted.gateway.upstreams import NoRouteError, Upstream, Upstreams
from budgeted.manager.budget_manager import BudgetManager
from budgeted.metering import drain
from budgeted.validation import shown
from budgeted.wire.api_endpoints import Endpoint, endpoint

DRAIN_SECONDS: Final = 30.0
"""How long streams that were left are read on when the gateway ends: they are billed in full, whoever reads them."""


_DIVIDES: Final = re.compile(r"%(?:2[fF3]|3[aAbBfF])")
"""What parts of a path, or of an address, are told by: `/`, `:`, `;`, `?` and `#`."""

_MODEL: Final = re.compile(r"/model/[^/]+")
"""A model's name at Amazon Bedrock, which may be of parts."""

MOST_ROUTES: Final = 4096
"""Paths of which it is remembered where they lead."""


class Route(NamedTuple):
    """Where a path leads.

    Args:
        upstream: who is asked.
        origin: the scheme and the host there.
        target: the path there.
        place: the API that it is of, if what is sent there may be paid for.
    """

    upstream: Upstream
    origin: str
    target: str
    place: Endpoint | None


def _place(upstream: Upstream, target: str) -> Endpoint | None:
    """The API that is asked at a path, if that may be paid for."""
    path = target.rstrip("/")
    found = endpoint(upstream.host, path, own=True, provider=upstream.provider)
    if found is None and free_paths.is_rented(path, upstream.provider):
        return Endpoint((), upstream.provider, known=True)
    return found


def _is_hidden(upstream: Upstream, target: str, place: Endpoint | None) -> bool:
    """Whether a path may lead elsewhere once it is decoded: `models/gemini%3AgenerateContent`, `threads/t%2Fruns`."""
    if _DIVIDES.search(_MODEL.sub("", target)):
        return True
    return place is None and _place(upstream, unquote(target)) is not None


class Gateway:
    """What requests share: who pays, who is asked, and the connections there.

    Args:
        settings: how it is set up.
        manager: whose accounts pay.
        callers: who tells who asks.
        environment: where the upstreams' keys are.
        traces: what makes spans of requests; None where nobody collects any.

    Raises:
        ValueError: an upstream makes no sense; the text quotes it.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        manager: BudgetManager,
        callers: Callers,
        environment: Mapping[str, str],
        traces: Traces | None = None,
    ) -> None:
        self.traces = traces
        self.settings, self.manager, self.callers = settings, manager, callers
        self.upstreams = Upstreams(settings.upstreams)
        self.connections = Connections(settings.connect_seconds, settings.silence_seconds)
        self._credentials = {one.name: Credentials(one, environment) for one in self.upstreams.by_name.values()}
        self.route = functools.lru_cache(MOST_ROUTES)(self._route)

    def _route(self, path: str, asker: str, *, has_body: bool) -> Route:
        """Where a path leads.

        Args:
            path: of a request, without a query.
            asker: whose SDK asks, where that is known.
            has_body: whether its method sends anything: what does not is never paid for.

        Raises:
            NoRouteError: it leads nowhere, or is not one.
        """
        upstream, target = self.upstreams.route(path, asker)
        place = _place(upstream, target) if has_body else None
        if has_body and "%" in target and _is_hidden(upstream, target, place):
            raise NoRouteError(400, f"the path {shown(path)} is not written as its API has it")
        return Route(upstream, upstream.origin, target, place)

    async def show(self, upstream: Upstream, headers: list[tuple[bytes, bytes]], shown: bytes, target: str) -> Shown:
        """What an upstream is shown of a request.

        Args:
            upstream: which one.
            headers: as they came.
            shown: the name of the one that has a key of the gateway's; b"" for none.
            target: the path at the upstream.

        Raises:
            CallerError: nobody has a key for it.
        """
        return await self._credentials[upstream.name].show(headers, shown, target)

    async def close(self) -> None:
        """Read on what was left, and end the connections."""
        await asyncio.to_thread(drain.finish, DRAIN_SECONDS)
        await self.connections.close()
