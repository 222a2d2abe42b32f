"""A model of the test's own, managers that are closed afterwards, and a reader of OpenTelemetry's SDK."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric, NumberDataPoint

from budgeted import BudgetManager, Usage, register_price
from budgeted.manager import open_managers
from budgeted.telemetry import instruments

_numbers = itertools.count(1)


class Metrics:
    """What a reader of a provider of its own sees: the global one can be set once per process only."""

    def __init__(self, **options: Any) -> None:
        self.reader = InMemoryMetricReader(**options.pop("reader", {}))
        self.provider = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False, **options)
        instruments.observe(self.provider.get_meter("budgeted"), open_managers.open_payers)

    def all(self) -> dict[str, Metric]:
        data = self.reader.get_metrics_data()
        found = data.resource_metrics if data is not None else []
        return {one.name: one for each in found for scope in each.scope_metrics for one in scope.metrics}

    def points(self, name: str, **attributes: str) -> list[NumberDataPoint]:
        """The points of an instrument that have these attributes; `model` and others stand for the long names."""
        long = {"model": "gen_ai.request.model", "project": "budgeted.project", "outcome": "budgeted.outcome"}
        wanted = {long.get(key, key) for key in attributes}
        values = {long.get(key, key): value for key, value in attributes.items()}
        metric = self.all().get(name)
        return [
            point
            for point in (metric.data.data_points if metric is not None else ())
            if all(point.attributes.get(key) == values[key] for key in wanted)
        ]

    def value(self, name: str, **attributes: str) -> float:
        """The value of the one point that has these attributes."""
        (point,) = self.points(name, **attributes)
        return point.value


@pytest.fixture
def make_metrics() -> Iterator[Callable[..., Metrics]]:
    made: list[Metrics] = []

    def make(**options: Any) -> Metrics:
        made.append(Metrics(**options))
        return made[-1]

    yield make
    for one in made:
        one.provider.shutdown()


@pytest.fixture
def metrics(make_metrics: Callable[..., Metrics]) -> Metrics:
    return make_metrics()


@pytest.fixture
def make_manager() -> Iterator[Callable[..., BudgetManager]]:
    """Makes managers in memory, each of a project of its own unless it is named."""
    made: list[BudgetManager] = []

    def make(project: str = "", **settings: Any) -> BudgetManager:
        settings.setdefault("ledger", "memory://")
        made.append(BudgetManager(project or f"project-{next(_numbers)}", **settings))
        return made[-1]

    yield make
    for manager in made:
        manager.close()


@pytest.fixture
def manager(make_manager: Callable[..., BudgetManager]) -> BudgetManager:
    return make_manager(max_budget="$100")


@pytest.fixture
def model() -> str:
    """A model that nobody else uses, as totals belong to the process: $1 per million tokens in, $2 out."""
    name = f"telemetry-model-{next(_numbers)}"
    register_price(name, input=1, output=2, max_output_tokens=1000, provider=None)
    return name


@pytest.fixture
def spend(manager: BudgetManager, model: str) -> Callable[..., None]:
    """Makes a call of 1,000 tokens in and 500 out: $0.002."""

    def call(user: str | None = None, *, paying: BudgetManager = manager, name: str = model, **more: Any) -> None:
        with paying.hold(name, "x" * 1000, 500, user=user, **more) as held:
            held.settle(usage=Usage(1000, 500))

    return call
