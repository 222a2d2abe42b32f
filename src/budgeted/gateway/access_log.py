"""The access log: one line of JSON for each request, on the logger ``budgeted.gateway``."""

from __future__ import annotations

import contextlib
import logging
from typing import Final

import msgspec

from budgeted.gateway.request_records import RequestRecord, shown_path
from budgeted.gateway.traces import NAME
from budgeted.manager.project_payer import ProjectPayer
from budgeted.money import to_usd

logger: Final = logging.getLogger(NAME)


class Line(msgspec.Struct, frozen=True):
    """What is told of a request.

    Args:
        method: of HTTP.
        path: without the query.
        upstream: whom it was sent on to; None for nobody.
        user: who pays, by the name that telemetry may use; None for nobody whom it may name.
        status: of the answer; None where whoever asked has left before there was one.
        seconds: how long it took, until the answer was passed on.
        cost: USD that were charged by then; None for nothing.
    """

    method: str
    path: str
    upstream: str | None
    user: str | None
    status: int | None
    seconds: float
    cost: float | None


class AccessLog:
    """Tells of each request in the log.

    Args:
        payer: whose setting ``metric_users`` says how users are named.
    """

    def __init__(self, payer: ProjectPayer) -> None:
        self._payer = payer

    def write(self, record: RequestRecord, seconds: float) -> None:
        """Tell of a request that was answered, or given up.

        Args:
            record: what has become of it.
            seconds: how long it took.
        """
        names, cost = self._payer.user_names, record.cost
        user = names(record.user) if names is not None and record.user is not None else ""
        line = Line(
            record.method,
            shown_path(record.path),
            record.upstream or None,
            user or None,
            record.status or None,
            round(seconds, 6),
            None if cost is None else to_usd(cost),
        )
        with contextlib.suppress(Exception):  # a handler's: what was paid for is passed on all the same
            logger.info("%s", msgspec.json.encode(line).decode())
