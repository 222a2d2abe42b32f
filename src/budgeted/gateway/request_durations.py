"""How long a gateway's requests took, as Prometheus reads it: on a request's way, it is an addition."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from budgeted.gateway.request_records import RequestRecord

NAME: Final = "http.server.request.duration"
"""As OpenTelemetry's conventions for HTTP servers call it."""

TEXT: Final = "How long requests took, until their answers were passed on."

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""The convention's bounds, and longer ones: models write for minutes."""

ATTRIBUTES: Final = (
    *("http.request.method", "url.scheme", "http.response.status_code", "error.type"),
    *("http.route", "budgeted.upstream"),
)


def values_of(record: RequestRecord) -> tuple[str, ...]:
    """The values of :data:`ATTRIBUTES`, "" for what there is nothing to say of.

    Args:
        record: what has become of a request.
    """
    status = str(record.status) if record.status else ""
    error = (status or "disconnected") if record.status >= 500 or not record.status else ""
    return record.method, record.scheme, status, error, record.route, record.upstream


class _Row:
    """The requests that are alike."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0


class RequestDurations(Collector):
    """A histogram of how long requests took. OpenTelemetry's takes ten times as long to record one."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, ...], _Row] = {}

    def add(self, seconds: float, values: tuple[str, ...]) -> None:
        """A request has ended. For one thread, that of the event loop.

        Args:
            seconds: how long it took.
            values: of :data:`ATTRIBUTES`.
        """
        row = self._rows.get(values)
        if row is None:
            row = self._rows[values] = _Row()
        row.counts[bisect.bisect_left(SECONDS, seconds)] += 1
        row.seconds += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The histogram, for a registry of Prometheus's client."""
        labels = [name.replace(".", "_") for name in ATTRIBUTES]
        family = HistogramMetricFamily(f"{NAME.replace('.', '_')}_seconds", TEXT, labels=labels)
        for values, row in list(self._rows.items()):
            sums = itertools.accumulate(list(row.counts))
            buckets = [(str(bound), float(count)) for bound, count in zip((*SECONDS, "+Inf"), sums, strict=True)]
            family.add_metric(values, buckets, row.seconds)
        yield family
