"""What a collector reads: observable instruments over the process's running totals and its managers' balances.

Nothing here is on a call's path, and only ``opentelemetry-api`` is needed: the instruments are made through its global
meter, which comes to life with whatever SDK is configured, later or never.

A gauge cannot be summed: where a view drops attributes, the SDK keeps the observation that came last. Balances are
therefore observed in order, users before the global account and the least remaining last, so that what is left over is
the tightest limit.
"""

from __future__ import annotations

import functools
import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from budgeted import prices, tally
from budgeted.ledger.base import GLOBAL, USD, Account, Ledger, Used, account_name
from budgeted.limits import Limit
from budgeted.money import to_usd
from budgeted.tally import UserNames, user_names

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

__all__ = ["MOST_USER_SERIES", "READ_SECONDS", "Conventions", "UserNames", "observe", "start", "user_names"]

logger = logging.getLogger("budgeted")

READ_SECONDS = 0.5
"""How long a collection waits for ledgers. Balances of one that takes longer are left out."""

MOST_USER_SERIES = 1_500
"""Limits of users that are shown: the SDK keeps 2,000 series per instrument, and the rest of a gauge is nonsense."""

UNKNOWN = "unknown"

PROVIDERS = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
}
"""OpenTelemetry's names of providers (attribute ``gen_ai.provider.name`` of its GenAI conventions), by those of
genai-prices and LiteLLM. Others are spelt alike, or OpenTelemetry has none."""

COUNTERS = {
    "budgeted.spend": ("USD", "What calls were charged."),
    "budgeted.tokens": ("{token}", "Tokens that calls were charged for."),
    "budgeted.calls": ("{call}", "Calls by how they ended."),
    "budgeted.overrun": ("USD", "What calls cost above what was held for them."),
    "budgeted.corrections": ("USD", "By how much charges were corrected later, upwards and downwards."),
    "budgeted.clamped": ("{call}", "Calls whose output was capped so that they fit."),
}
GAUGES = {
    "budgeted.limit": "How much may be spent in the current period.",
    "budgeted.spent": "What was charged in the current period.",
    "budgeted.held": "What is set aside for calls in flight.",
    "budgeted.remaining": "What is left of the limit, after what was charged and what is set aside.",
}

Series = list[tuple[float, dict[str, str]]]
"""What an instrument shows: values with their attributes."""

_unstarted = [True]


def start(managers: Callable[[], Iterable[Any]]) -> None:
    """Register the instruments with OpenTelemetry's global meter, once per process.

    Args:
        managers: gives the managers that are open.
    """
    try:
        _unstarted.pop()
    except IndexError:
        return
    try:
        from opentelemetry import metrics

        observe(metrics.get_meter("budgeted", _version()), managers)
    except Exception:
        # Such as a MeterProvider that the environment names and nobody has installed: budgets hold nevertheless.
        logger.exception("budgeted: there will be no metrics")


def observe(meter: Meter, managers: Callable[[], Iterable[Any]]) -> None:
    """Register the instruments with a meter.

    Args:
        meter: of whichever provider.
        managers: gives the managers that are open.
    """
    from opentelemetry.metrics import Observation

    source = _Source(managers)

    def callback(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(value, attributes) for value, attributes in source.series(name)]

    for name, (unit, text) in COUNTERS.items():
        meter.create_observable_counter(name, [callback(name)], unit, text)
    for name, text in GAUGES.items():
        meter.create_observable_gauge(name, [callback(name)], "USD", text)


class Conventions:
    """The client metrics of OpenTelemetry's GenAI conventions, which are recorded call by call (``semconv=True``).

    They tell the same as other instrumentations of an SDK do: have one of them only. The conventions, their names
    and buckets are in development: https://github.com/open-telemetry/semantic-conventions-genai. The one for cost is a
    proposal.

    Args:
        meter: where to record; the global one if none is given.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        from opentelemetry import metrics

        make = (meter or metrics.get_meter("budgeted", _version())).create_histogram
        tokens = [4**power for power in range(14)]
        seconds = [2**power / 100 for power in range(14)]
        usd = [4**power / 1e6 for power in range(14)]
        self._tokens = make(
            "gen_ai.client.token.usage", "{token}", "Tokens of a call.", explicit_bucket_boundaries_advisory=tokens
        )
        self._seconds = make(
            "gen_ai.client.operation.duration",
            "s",
            "How long a call took.",
            explicit_bucket_boundaries_advisory=seconds,
        )
        self._usd = make(
            "gen_ai.client.operation.cost", "USD", "What a call cost.", explicit_bucket_boundaries_advisory=usd
        )

    def record(self, key: tally.Key, seconds: float, used: Used | None, error: str = "") -> None:
        """Record a call that has ended.

        Args:
            key: provider, operation, model, and the user whom telemetry may name, or "".
            seconds: how long it took.
            used: what it used, in nano-USD and tokens; None for one that failed.
            error: the type of the exception that it ended with, or "".
        """
        common = _attributes(key)
        if error:
            common["error.type"] = error
        self._seconds.record(seconds, common)
        if used is not None:
            self._tokens.record(used.input_tokens, {**common, "gen_ai.token.type": "input"})
            self._tokens.record(used.output_tokens, {**common, "gen_ai.token.type": "output"})
            self._usd.record(to_usd(used.usd), common)


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("budgeted")
    except metadata.PackageNotFoundError:
        return ""


class _Source:
    """Reads everything once per collection, for all instruments that a collector asks one after the other."""

    def __init__(self, managers: Callable[[], Iterable[Any]]) -> None:
        self._managers = managers
        # Of each collecting thread: two readers do not share a collection.
        self._mine = threading.local()

    def series(self, name: str) -> Series:
        """What an instrument shows. One that has shown its part of a reading before begins a new one."""
        reading: dict[str, Series] = getattr(self._mine, "reading", {})
        if name not in reading:
            reading = self._mine.reading = {**_totals(), **_balances(self._managers())}
        return reading.pop(name)


# -- totals


def _totals() -> dict[str, Series]:
    """What the counters show."""
    totals = tally.snapshot()
    sums: dict[str, dict[tuple[tuple[str, str], ...], int]] = {name: {} for name in COUNTERS}

    def add(name: str, value: int, attributes: dict[str, str]) -> None:
        if value:
            row, key = sums[name], tuple(attributes.items())
            row[key] = row.get(key, 0) + value

    for key, one in totals.tallies.items():
        common = _attributes(key)
        add("budgeted.spend", one.usd, common)
        add("budgeted.tokens", one.input_tokens, {**common, "gen_ai.token.type": "input"})
        add("budgeted.tokens", one.output_tokens, {**common, "gen_ai.token.type": "output"})
        for outcome in ("settled", "estimated", "failed"):
            add("budgeted.calls", getattr(one, outcome), {**common, "budgeted.outcome": outcome})
        add("budgeted.overrun", one.overrun, common)
        add("budgeted.clamped", one.clamped, common)
    for key, refusals in totals.refusals.items():
        common = {**_attributes(key), "budgeted.outcome": "refused"}
        for (reason, kind), count in refusals.items():
            add("budgeted.calls", count, {**common, "budgeted.reason": reason, "budgeted.account.kind": kind})
    for direction, nano in totals.corrections.items():
        add("budgeted.corrections", nano, {"budgeted.direction": direction})
    return {
        name: [(to_usd(value) if unit == "USD" else value, dict(key)) for key, value in sums[name].items()]
        for name, (unit, _) in COUNTERS.items()
    }


def _attributes(key: tally.Key) -> dict[str, str]:
    provider, operation, model, user = key
    found = {
        "gen_ai.provider.name": _provider_name(provider, model),
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": model,
        "user.id": user,
    }
    return {name: value for name, value in found.items() if value}


# A series keeps the name that it began with, whatever price is registered later. There are as many as there are keys.
@functools.cache
def _provider_name(provider: str, model: str) -> str:
    """A provider as OpenTelemetry names it; found by the model where a call did not tell."""
    if not provider and model:
        price = prices.find(model)
        provider = price.provider if price is not None else ""
    return PROVIDERS.get(provider, provider) or UNKNOWN


# -- balances


class _Row(NamedTuple):
    """The figures of a limit, in nano-USD. Those of users who go by one name are added up."""

    limit: int
    spent: int
    held: int
    remaining: int


def _balances(managers: Iterable[Any]) -> dict[str, Series]:
    """What the gauges show."""
    by_ledger: dict[int, list[Any]] = {}
    for manager in managers:
        by_ledger.setdefault(id(manager.ledger), []).append(manager)
    looks = [_look(sharing) for sharing in by_ledger.values()]
    deadline = time.monotonic() + READ_SECONDS
    rows: dict[tuple[tuple[str, str], ...], _Row] = {}
    numbers = _numbers(by_ledger.values())
    for look, sharing in zip(looks, by_ledger.values(), strict=True):
        for account in look.accounts(deadline):
            for attributes, row in _rows(account, sharing, numbers):
                before = rows.get(attributes, _Row(0, 0, 0, 0))
                rows[attributes] = _Row(*map(sum, zip(before, row, strict=True)))
    ordered = sorted(rows.items(), key=lambda item: (_is_global(item[0]), -item[1].remaining))
    over = sum(not _is_global(key) for key, _ in ordered) - MOST_USER_SERIES
    if over > 0:
        _note_cut()
        ordered = ordered[over:]
    return {
        name: [(to_usd(getattr(row, name.rpartition(".")[2])), dict(key)) for key, row in ordered] for name in GAUGES
    }


def _is_global(attributes: tuple[tuple[str, str], ...]) -> bool:
    return all(name != "user.id" for name, _ in attributes)


@functools.cache
def _note_cut() -> None:
    logger.warning(
        "budgeted: gauges show %d limits of users, and there are more; give metric_users a list of users, or a "
        "function that names fewer (said once)",
        MOST_USER_SERIES,
    )


class _Look(threading.Thread):
    """One look into a ledger, beside the collector: it may take longer than a collector can wait."""

    def __init__(self, ledger: Ledger, rules: list[UserNames]) -> None:
        super().__init__(name="budgeted-metrics", daemon=True)
        self._ledger = ledger
        self._rules = rules
        self._found: list[Account] = []
        self._done = threading.Event()

    def run(self) -> None:
        """Read the global account, and of users' accounts as few as the settings allow."""
        try:
            self._found = list(self._read())
        except Exception as error:  # noqa: BLE001 - no ledger of any kind breaks a collection
            logger.debug("budgeted: %r could not be read for metrics: %s", self._ledger, error)
        finally:
            _looks.pop(self._ledger, None)
            self._done.set()

    def _read(self) -> Iterator[Account]:
        ledger = self._ledger
        names = {GLOBAL}
        for rule in self._rules:
            names.update("u:" + user for user in rule.only or ())
        for name in names:
            account = ledger.read(name)
            if account is not None:
                yield account
        if any(rule.only is None for rule in self._rules):
            page = ledger.accounts("u:", None, MOST_USER_SERIES + 1)
            yield from (account for account in page if account.id not in names)

    def accounts(self, deadline: float) -> list[Account]:
        """What was found; nothing if it takes too long."""
        return self._found if self._done.wait(max(0.0, deadline - time.monotonic())) else []


_looks: weakref.WeakKeyDictionary[Any, _Look] = weakref.WeakKeyDictionary()
"""Those under way: a ledger that answers nobody is asked once."""


def _look(sharing: list[Any]) -> _Look:
    """A look into the ledger that some managers share."""
    ledger = sharing[0].ledger
    look = _looks.get(ledger)
    if look is None or not look.is_alive():  # a thread of the process that this one was forked from
        rules = [rule for manager in sharing if (rule := user_names(manager.settings.metric_users)) is not None]
        look = _looks[ledger] = _Look(ledger, rules)
        try:
            look.start()
        except RuntimeError:  # the interpreter is going down, and starts no threads any more
            look.run()
    return look


def _rows(
    account: Account, sharing: list[Any], numbers: dict[tuple[str, int], int]
) -> Iterator[tuple[tuple[tuple[str, str], ...], _Row]]:
    """The USD limits of an account, with their attributes, for each project that shares its ledger."""
    for project, manager in {manager.project_name: manager for manager in sharing}.items():
        common = {"budgeted.project": project, "budgeted.account": account_name(account.id)}
        if account.id != GLOBAL:
            rules = (user_names(one.settings.metric_users) for one in sharing if one.project_name == project)
            user = next(filter(None, (rule(common["budgeted.account"]) for rule in rules if rule is not None)), None)
            if user is None:
                continue
            common["budgeted.account"] = common["user.id"] = user
        number = numbers[project, id(manager.ledger)]
        if number > 1:
            common["budgeted.ledger"] = str(number)
        now = manager.clock()
        shown: set[dict[str, str] | tuple[str, str]] = set()
        for slot in account.slots:
            if slot.unit == USD:
                period, models, anchored = _period(slot.limit)
                label = anchored if (period, models) in shown else period
                shown.add((period, models))
                spent, held = (slot.spent, slot.held) if now < slot.end else (0, 0)
                attributes = {**common, "budgeted.period": label}
                if models:
                    attributes["budgeted.models"] = models
                row = _Row(slot.amount, spent, held, max(0, slot.amount - spent - held))
                yield tuple(attributes.items()), row


@functools.lru_cache(maxsize=4096)
def _period(limit_id: str) -> tuple[str, str, str]:
    """A limit's period, its models, and the period with the date that it is counted from."""
    limit = Limit.from_id(limit_id, 0)
    if limit.period is None:
        return "total", limit.models or "", "total"
    anchored = str(limit).partition("/")[2].replace(f" on {limit.models}", "")
    return str(limit.period), limit.models or "", anchored


_seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_count = itertools.count()


def _numbers(sharing: Iterable[list[Any]]) -> dict[tuple[str, int], int]:
    """Numbers from 1 on for the ledgers of each project, in the order in which they were first seen."""
    ledgers: dict[str, set[Any]] = {}
    for managers in sharing:
        for manager in managers:
            _seen.setdefault(manager.ledger, next(_count))
            ledgers.setdefault(manager.project_name, set()).add(manager.ledger)
    return {
        (project, id(ledger)): number
        for project, some in ledgers.items()
        for number, ledger in enumerate(sorted(some, key=_seen.__getitem__), 1)
    }
