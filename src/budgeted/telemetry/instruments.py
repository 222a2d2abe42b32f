"""What a collector reads: observable instruments over the process's running totals and its managers' balances.

Nothing here is on a call's path, and only ``opentelemetry-api`` is needed: the instruments are made through its global
meter, which comes to life with whatever SDK is configured, later or never.
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from budgeted.money import to_usd
from budgeted.payers.payer_interface import Payer
from budgeted.telemetry import counters, gauges
from budgeted.telemetry.gauges import GAUGES, Series
from budgeted.telemetry.genai_conventions import Conventions, attributes_of, instrumented_by_others, version
from budgeted.telemetry.genai_histogram_queue import operations

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

logger = logging.getLogger("budgeted")

COUNTERS = {
    "budgeted.spend": ("USD", "What calls were charged."),
    "budgeted.tokens": ("{token}", "Tokens that calls were charged for."),
    "budgeted.calls": ("{call}", "Calls by how they ended."),
    "budgeted.overrun": ("USD", "What calls cost above what was held for them."),
    "budgeted.corrections": ("USD", "By how much charges were corrected later, upwards and downwards."),
    "budgeted.clamped": ("{call}", "Calls whose output was capped so that they fit."),
    "budgeted.unmetered": ("{call}", "Requests that were paid for, it seems, and that nobody could read."),
    "budgeted.alerts": ("{alert}", "Shares of limits that were reached, each told once by one process."),
    "budgeted.alerts.sent": ("{event}", "Events for alerts_to: taken or refused there, or dropped here."),
}

_unstarted = [True]


def start(payers: Callable[[], Iterable[Payer]]) -> None:
    """Register the instruments with OpenTelemetry's global meter, once per process. Called with each new manager.

    Args:
        payers: gives the managers that are open.
    """
    # Again with each manager, so that it runs before whatever closes their ledgers at exit.
    atexit.unregister(_look_a_last_time)
    atexit.register(_look_a_last_time, payers)
    try:
        _unstarted.pop()
    except IndexError:
        return
    try:
        from opentelemetry import metrics

        observe(metrics.get_meter("budgeted", version()), payers)
    except Exception:
        # Such as a MeterProvider that the environment names and nobody has installed: budgets hold nevertheless.
        logger.exception("budgeted: there will be no metrics")


def observe(meter: Meter, payers: Callable[[], Iterable[Payer]]) -> None:
    """Register the instruments with a meter.

    Args:
        meter: of whichever provider.
        payers: gives the managers that are open.
    """
    from opentelemetry.metrics import Observation

    source = _Source(payers, Conventions(meter))

    def callback(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(value, attributes) for value, attributes in source.series(name)]

    for name, (unit, text) in COUNTERS.items():
        meter.create_observable_counter(name, [callback(name)], unit, text)
    for name, (unit, text) in GAUGES.items():
        meter.create_observable_gauge(name, [callback(name)], unit, text)


def _look_a_last_time(payers: Callable[[], Iterable[Payer]]) -> None:
    from opentelemetry import metrics

    if not type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics"):
        gauges.look_a_last_time(payers())  # else it is that of the API, which collects nothing


class _Source:
    """Reads everything once per collection, for all instruments that a collector asks one after the other."""

    def __init__(self, payers: Callable[[], Iterable[Payer]], conventions: Conventions) -> None:
        self._payers = payers
        _conventions[weakref.ref(self, _conventions.pop)] = conventions
        # Of each collecting thread: two readers do not share a collection.
        self._mine = threading.local()

    def series(self, name: str) -> Series:
        """What an instrument shows. One that has shown its part of a reading before begins a new one."""
        reading: dict[str, Series] = getattr(self._mine, "reading", {})
        if name not in reading:
            _record_operations()
            reading = self._mine.reading = {**_totals(), **gauges.balances(self._payers())}
        return reading.pop(name)


_conventions: dict[weakref.ref[_Source], Conventions] = {}


def _record_operations() -> None:
    """Add the calls that ended since the last collection to the histograms of all meters.

    They are asked for afterwards: the SDK calls the observed instruments first.
    """
    others: dict[str, bool] = {}
    for operation in operations():
        provider = operation.key[0]
        if provider not in others:
            others[provider] = instrumented_by_others(provider)
        for conventions in list(_conventions.values()):
            conventions.record(operation, only_cost=others[provider])


def _totals() -> dict[str, Series]:
    """What the counters show."""
    totals = counters.snapshot()
    sums: dict[str, dict[tuple[tuple[str, str], ...], int]] = {name: {} for name in COUNTERS}

    def add(name: str, value: int, attributes: dict[str, str]) -> None:
        if value:
            row, key = sums[name], tuple(attributes.items())
            row[key] = row.get(key, 0) + value

    for key, one in totals.tallies.items():
        common = attributes_of(key)
        add("budgeted.spend", one.usd, common)
        add("budgeted.tokens", one.input_tokens, {**common, "gen_ai.token.type": "input"})
        add("budgeted.tokens", one.output_tokens, {**common, "gen_ai.token.type": "output"})
        for outcome in ("settled", "estimated", "failed"):
            add("budgeted.calls", getattr(one, outcome), {**common, "budgeted.outcome": outcome})
        add("budgeted.overrun", one.overrun, common)
        add("budgeted.clamped", one.clamped, common)
    for key, refusals in totals.refusals.items():
        common = {**attributes_of(key), "budgeted.outcome": "refused"}
        for (reason, kind), count in refusals.items():
            why = {"budgeted.reason": reason, "budgeted.account.kind": kind}
            add("budgeted.calls", count, {**common, **{name: value for name, value in why.items() if value}})
    for direction, nano in totals.corrections.items():
        add("budgeted.corrections", nano, {"budgeted.direction": direction})
    for host, count in totals.unmetered.items():
        add("budgeted.unmetered", count, {"server.address": host})
    for (project, kind, share), count in totals.alerts.items():
        attributes = {"budgeted.project": project, "budgeted.account.kind": kind, "budgeted.threshold": f"{share:g}"}
        add("budgeted.alerts", count, attributes)
    for (host, outcome), count in totals.sent.items():
        add("budgeted.alerts.sent", count, {"server.address": host, "budgeted.outcome": outcome})
    return {
        name: [(to_usd(value) if unit == "USD" else value, dict(key)) for key, value in sums[name].items()]
        for name, (unit, _) in COUNTERS.items()
    }
