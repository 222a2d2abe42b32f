"""What a collector reads: observable instruments over the process's running totals and its managers' balances.

Nothing here is on a call's path, and only ``opentelemetry-api`` is needed: the instruments are made through its global
meter, which comes to life with whatever SDK is configured, later or never.

A gauge cannot be summed: where a view drops attributes, the SDK keeps the observation that came last. Balances are
therefore observed in order, users before the global account and the least remaining last, so that what is left over is
the tightest limit.
"""

from __future__ import annotations

import atexit
import functools
import heapq
import itertools
import logging
import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from opentelemetry.trace import set_span_in_context

from budgeted import forecast, prices, tally
from budgeted.ledger.base import GLOBAL, USD, Account, Ledger, account_name
from budgeted.limits import Limit
from budgeted.money import to_usd
from budgeted.periods import NEVER
from budgeted.tally import UserNames, user_names

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

__all__ = ["MOST_USER_SERIES", "READ_SECONDS", "Conventions", "UserNames", "observe", "start", "user_names"]

logger = logging.getLogger("budgeted")

REMOTE_SECONDS = 1.0
"""How long what was read from a ledger over the network serves further readers."""

RANKED_SECONDS = 60.0
"""How long the users who have spent most stay those who are named."""

MOST_RANKED = 100_000
PAGE = 1_000

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
    "budgeted.alerts": ("{alert}", "Shares of limits that were reached, each told once by one process."),
}
GAUGES = {
    "budgeted.limit": ("USD", "How much may be spent in the current period."),
    "budgeted.spent": ("USD", "What was charged in the current period."),
    "budgeted.held": ("USD", "What is set aside for calls in flight."),
    "budgeted.remaining": ("USD", "What is left of the limit, after what was charged and what is set aside."),
    "budgeted.time_to_exhaustion": ("s", "When the limit is reached at the present rate, if before it resets."),
}

Series = list[tuple[float, dict[str, str]]]
"""What an instrument shows: values with their attributes."""

_unstarted = [True]


def start(managers: Callable[[], Iterable[Any]]) -> None:
    """Register the instruments with OpenTelemetry's global meter, once per process. Called with each new manager.

    Args:
        managers: gives the managers that are open.
    """
    # Again with each manager, so that it runs before whatever closes their ledgers at exit.
    atexit.unregister(_look_a_last_time)
    atexit.register(_look_a_last_time, managers)
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

    source = _Source(managers, Conventions(meter))

    def callback(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(value, attributes) for value, attributes in source.series(name)]

    for name, (unit, text) in COUNTERS.items():
        meter.create_observable_counter(name, [callback(name)], unit, text)
    for name, (unit, text) in GAUGES.items():
        meter.create_observable_gauge(name, [callback(name)], unit, text)


class Conventions:
    """The client metrics of OpenTelemetry's GenAI conventions (``semconv=True``).

    They tell the same as other instrumentations of an SDK do. Where one of those is found at work, only the cost is
    recorded, of which they know nothing. The conventions, their names and buckets are in development:
    https://github.com/open-telemetry/semantic-conventions-genai. The one for cost is a proposal.

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

    def record(self, operation: tally.Operation, *, only_cost: bool = False) -> None:
        """Record a call that has ended.

        Args:
            operation: the call.
            only_cost: leave out what others tell already.
        """
        attributes = _operation_attributes(operation)
        context = None if operation.span is None else set_span_in_context(operation.span)  # for exemplars
        if not only_cost:
            self._seconds.record(operation.seconds, attributes, context)
        if operation.used is None:
            return
        usd, *tokens = operation.used
        self._usd.record(to_usd(usd), attributes, context)
        for kind, count in zip(("input", "output"), tokens, strict=True):
            if not only_cost:
                self._tokens.record(count, {**attributes, "gen_ai.token.type": kind}, context)


def _operation_attributes(operation: tally.Operation) -> dict[str, str | int]:
    attributes: dict[str, str | int] = dict(_attributes(operation.key))
    if operation.model:
        attributes["gen_ai.response.model"] = operation.model
    if operation.error:
        attributes["error.type"] = operation.error
    try:
        address = urlsplit(operation.base_url)
        if address.hostname:
            attributes["server.address"] = address.hostname
            if address.port and address.port != 443:
                attributes["server.port"] = address.port
    except ValueError:  # no URL, and so no server's either
        pass
    return attributes


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("budgeted")
    except metadata.PackageNotFoundError:
        return ""


class _Source:
    """Reads everything once per collection, for all instruments that a collector asks one after the other."""

    def __init__(self, managers: Callable[[], Iterable[Any]], conventions: Conventions) -> None:
        self._managers = managers
        _conventions[weakref.ref(self, _conventions.pop)] = conventions
        # Of each collecting thread: two readers do not share a collection.
        self._mine = threading.local()

    def series(self, name: str) -> Series:
        """What an instrument shows. One that has shown its part of a reading before begins a new one."""
        reading: dict[str, Series] = getattr(self._mine, "reading", {})
        if name not in reading:
            _record_operations()
            reading = self._mine.reading = {**_totals(), **_balances(self._managers())}
        return reading.pop(name)


_conventions: dict[weakref.ref[_Source], Conventions] = {}


def _record_operations() -> None:
    """Add the calls that ended since the last collection to the histograms of all meters.

    They are asked for afterwards: the SDK calls the observed instruments first.
    """
    others: dict[str, bool] = {}
    for operation in tally.operations():
        provider = operation.key[0]
        if provider not in others:
            others[provider] = instrumented_by_others(provider)
        for conventions in list(_conventions.values()):
            conventions.record(operation, only_cost=others[provider])


INSTRUMENTATIONS = {
    "openai": ("openai", "openai_v2"),
    "anthropic": ("anthropic",),
    "google": ("google_genai", "google_generativeai", "vertexai"),
    "aws": ("bedrock", "botocore"),
    "azure": ("openai", "openai_v2"),
    "cohere": ("cohere",),
    "groq": ("groq",),
    "mistral": ("mistralai",),
    "together": ("together",),
}
"""Packages below ``opentelemetry.instrumentation`` that emit the conventions' metrics, by providers."""


def instrumented_by_others(provider: str) -> bool:
    """Whether another instrumentation of OpenTelemetry's is at work on a provider's SDK.

    Args:
        provider: as genai-prices names it.
    """
    for name in INSTRUMENTATIONS.get(provider, ()):
        module = sys.modules.get("opentelemetry.instrumentation." + name)
        for instrumentor in list(vars(module).values()) if module is not None else ():
            # As all of them do: one instance per class, which knows whether it is switched on.
            if isinstance(instrumentor, type) and instrumentor.__name__.endswith("Instrumentor"):
                instance = instrumentor.__dict__.get("_instance")
                if getattr(instance, "is_instrumented_by_opentelemetry", False):
                    return True
    return False


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
            why = {"budgeted.reason": reason, "budgeted.account.kind": kind}
            add("budgeted.calls", count, {**common, **{name: value for name, value in why.items() if value}})
    for direction, nano in totals.corrections.items():
        add("budgeted.corrections", nano, {"budgeted.direction": direction})
    for (project, kind, share), count in totals.alerts.items():
        attributes = {"budgeted.project": project, "budgeted.account.kind": kind, "budgeted.threshold": f"{share:g}"}
        add("budgeted.alerts", count, attributes)
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
    seconds: float = math.inf
    """Until the limit is reached."""

    def __add__(self, other: Any) -> _Row:
        return _Row(
            self.limit + other.limit,
            self.spent + other.spent,
            self.held + other.held,
            self.remaining + other.remaining,
            min(self.seconds, other.seconds),
        )


def _balances(managers: Iterable[Any]) -> dict[str, Series]:
    """What the gauges show."""
    by_ledger = _by_ledger(managers)
    looks = [_look(sharing) for sharing in by_ledger.values()]
    deadline = time.monotonic() + READ_SECONDS
    rows: dict[tuple[tuple[str, str], ...], _Row] = {}
    numbers = _numbers(by_ledger.values())
    for look, sharing in zip(looks, by_ledger.values(), strict=True):
        for account in look.accounts(deadline):
            for attributes, row in _rows(account, sharing, numbers, look.recent.get(account.id)):
                before = rows.get(attributes)
                rows[attributes] = row if before is None else before + row
    ordered = sorted(rows.items(), key=lambda item: (_is_global(item[0]), -item[1].remaining))
    over = sum(not _is_global(key) for key, _ in ordered) - MOST_USER_SERIES
    if over > 0:
        _note_cut()
        ordered = ordered[over:]
    found: dict[str, Series] = {
        name: [(to_usd(getattr(row, name.rpartition(".")[2])), dict(key)) for key, row in ordered]
        for name, (unit, _) in GAUGES.items()
        if unit == "USD"
    }
    soon = sorted((item for item in ordered if item[1].seconds < math.inf), key=lambda item: -item[1].seconds)
    found["budgeted.time_to_exhaustion"] = [(row.seconds, dict(key)) for key, row in soon]
    return found


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

    def __init__(self, sharing: list[Any]) -> None:
        super().__init__(name="budgeted-metrics", daemon=True)
        self._ledger: Ledger = sharing[0].ledger
        self._clock, self._timezone = sharing[0].clock, sharing[0].timezone
        self._rules = [rule for one in sharing if (rule := user_names(one.settings.metric_users)) is not None]
        self._found: list[Account] = []
        self._done = threading.Event()
        self._until = 0.0
        self.recent: forecast.Rates = {}

    def run(self) -> None:
        """Read the global account, and of users' accounts as few as the settings allow."""
        try:
            self._found = list(self._read())
            self._until = time.monotonic() + (REMOTE_SECONDS if self._ledger.remote else 0.0)
        except Exception as error:  # noqa: BLE001 - no ledger of any kind breaks a collection
            logger.debug("budgeted: %r could not be read for metrics: %s", self._ledger, error)
        finally:
            self._done.set()

    @property
    def serves(self) -> bool:
        """Whether it is under way, or fresh enough to be shown once more."""
        # One that is neither alive nor done is of the process that this one was forked from.
        return time.monotonic() < self._until if self._done.is_set() else self.is_alive()

    def _read(self) -> Iterator[Account]:
        ledger = self._ledger
        names = {GLOBAL}
        for rule in self._rules:
            if rule.top and time.monotonic() - rule.ranked >= RANKED_SECONDS:
                rule.only, rule.ranked = _spending_most(ledger, rule.top), time.monotonic()
            names.update("u:" + user for user in rule.only or ())
        for name in names:
            account = ledger.read(name)
            if account is not None:
                yield account
            if account is not None and any(slot.end >= NEVER and slot.unit == USD for slot in account.slots):
                self.recent |= forecast.recent_rates(ledger, self._clock(), self._timezone, name)
        if any(rule.only is None for rule in self._rules):
            page = ledger.accounts("u:", None, MOST_USER_SERIES + 1)
            yield from (account for account in page if account.id not in names)

    def keep(self) -> None:
        """Show what was found from now on."""
        self._until = math.inf

    def accounts(self, deadline: float) -> list[Account]:
        """What was found; nothing if it takes too long."""
        return self._found if self._done.wait(max(0.0, deadline - time.monotonic())) else []


def _spending_most(ledger: Ledger, number: int) -> frozenset[str]:
    """So many users, those who have spent most since their last reset."""

    def users() -> Iterator[tuple[int, str]]:
        after = None
        for _ in range(MOST_RANKED // PAGE):
            page = ledger.accounts("u:", after, PAGE)
            yield from ((account.usd, account_name(account.id)) for account in page)
            if len(page) < PAGE:
                return
            after = page[-1].id

    return frozenset(name for spent, name in heapq.nlargest(number, users()) if spent)


_looks: weakref.WeakKeyDictionary[Any, _Look] = weakref.WeakKeyDictionary()
"""The last one of each ledger: one that answers nobody is asked once."""


def _look(sharing: list[Any]) -> _Look:
    """A look into the ledger that some managers share."""
    ledger = sharing[0].ledger
    look = _looks.get(ledger)
    if look is None or not look.serves:
        look = _looks[ledger] = _Look(sharing)
        try:
            look.start()
        except RuntimeError:  # the interpreter is going down, and starts no threads any more
            look.run()
    return look


def _by_ledger(managers: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for manager in managers:
        found.setdefault(id(manager.ledger), []).append(manager)
    return found


def _look_a_last_time(managers: Callable[[], Iterable[Any]]) -> None:
    """Keep what balances are as the process ends: an SDK collects once more when ledgers may be closed already."""
    from opentelemetry import metrics

    if type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics"):
        return  # that of the API, which collects nothing
    deadline = time.monotonic() + READ_SECONDS
    for look in [_look(sharing) for sharing in _by_ledger(managers()).values()]:
        look.accounts(deadline)
        look.keep()


def _rows(
    account: Account, sharing: list[Any], numbers: dict[tuple[str, int], int], recent: forecast.Recent | None
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
                seconds = forecast.seconds_left(slot, now, recent)
                left = max(0, slot.amount - spent - held)
                row = _Row(slot.amount, spent, held, left, math.inf if seconds is None else seconds)
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
