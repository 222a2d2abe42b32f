"""Who is told of a gateway's requests: metrics, traces, the access log."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.types import Scope, Send

from budgeted.gateway.access_log import AccessLog
from budgeted.gateway.exchange import Exchange
from budgeted.gateway.refusals import Refusal, answer, send_answer
from budgeted.gateway.traces import Traces

if TYPE_CHECKING:
    from budgeted.gateway.metrics import GatewayMetrics

METRICS: Final = b"/metrics"
"""The path at which metrics are read."""


class Observers(NamedTuple):
    """Who is told of a gateway's requests.

    Args:
        metrics: what counts them, and is read at :data:`METRICS`; None for one of several processes.
        traces: what makes spans of them; None where nobody collects any.
        access_log: what writes a line for each; None for none.

    Example:
        >>> app = create_gateway(manager, OpenCallers(), observers=Observers(access_log=AccessLog(manager.payer)))
    """

    metrics: GatewayMetrics | None = None
    traces: Traces | None = None
    access_log: AccessLog | None = None

    async def serve(self, exchange: Exchange, scope: Scope, send: Send) -> None:
        """Have a request answered, and tell of it.

        Args:
            exchange: the request, and its answer.
            scope: ASGI's, of the request.
            send: takes the answer.
        """
        if scope["raw_path"] == METRICS:
            await _send_metrics(self.metrics, scope, send)
            return
        record = exchange.record
        if self.metrics is not None:
            self.metrics.began(record)
        span = contextlib.nullcontext() if self.traces is None else self.traces.span(record, scope["headers"])
        try:
            with span:
                await exchange.serve()
        finally:
            seconds = time.perf_counter() - record.begun
            if self.metrics is not None:
                self.metrics.ended(record, seconds)
            if self.access_log is not None:
                self.access_log.write(record, seconds)


async def _send_metrics(metrics: GatewayMetrics | None, scope: Scope, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        found = answer(Refusal(405, "metrics are read with GET"), "openai")
    elif metrics is None:
        text = "one of several processes would tell of itself alone; have several gateways with one worker each"
        found = answer(Refusal(501, text), "openai")
    elif (refused := metrics.refusal(scope)) is not None:
        found = refused
    else:
        found = await asyncio.to_thread(metrics.page)
    await send_answer(send, found, head=scope["method"] == "HEAD")
