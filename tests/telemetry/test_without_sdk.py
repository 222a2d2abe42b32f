"""The global meter: an SDK configured early, late, disabled or never, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CALL = """
import sys
import budgeted
from budgeted import BudgetManager, Usage, register_price

register_price("some-model", input=1, output=2, max_output_tokens=1000)
manager = BudgetManager("shop", ledger="memory://", max_budget="$1", alerts=())

def call():
    with manager.hold("some-model", "x" * 1000, 500, user="alice") as held:
        held.settle(usage=Usage(1000, 500))

def configure(**options):
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader], **options))
    return reader

def seen(reader):
    data = reader.get_metrics_data()
    return {} if data is None else {
        metric.name: [point.value for point in metric.data.data_points]
        for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    }
"""


def process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **paths, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run(code: str, **environment: str) -> str:
    """What a fresh process with a manager prints. Whatever it says on stderr is a failure."""
    done = process(CALL + code, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_without_an_sdk_everything_works_and_no_sdk_is_loaded() -> None:
    code = 'call(); print(manager.balance().spent, any("opentelemetry.sdk" in name for name in sys.modules))'
    assert run(code) == "0.002 False"


def test_importing_the_package_loads_neither_the_sdk_nor_the_metrics_api() -> None:
    loaded = process("import sys; from budgeted import budget; print(*sys.modules)").stdout.split()
    assert not [name for name in loaded if name.startswith(("opentelemetry.sdk", "opentelemetry.metrics"))]
    assert "budgeted.telemetry.instruments" in loaded


@pytest.mark.parametrize("when", ["before the call", "after the call"])
def test_an_sdk_configured_late_sees_every_call(when: str) -> None:
    steps = ["reader = configure()", "call()"] if when == "before the call" else ["call()", "reader = configure()"]
    code = "; ".join([*steps, 'found = seen(reader); print(found["budgeted.spend"], found["budgeted.remaining"])'])
    assert run(code) == "[0.002] [0.998]"


def test_instruments_are_registered_once_however_many_managers_there_are() -> None:
    code = """
reader = configure()
managers = [BudgetManager(f"shop-{number}", ledger="memory://", max_budget="$1") for number in range(5)]
call()
found = seen(reader)
print(found["budgeted.spend"], len(found["budgeted.limit"]))
"""
    assert run(code) == "[0.002] 6"


def test_the_meter_is_called_budgeted_and_has_no_schema_url() -> None:
    code = """
reader = configure()
call()
(scope,) = (scope for resource in reader.get_metrics_data().resource_metrics for scope in resource.scope_metrics)
print(scope.scope.name, repr(scope.schema_url))
"""
    assert run(code) == "budgeted ''"


def test_a_disabled_sdk_disables_no_budget() -> None:
    code = """
from budgeted import BudgetExceededError
reader = configure()
call()
manager.set_limits(None, "$0.001")
try:
    call()
except BudgetExceededError as error:
    print(error.reason, seen(reader))
"""
    assert run(code, OTEL_SDK_DISABLED="true") == "spent {}"


def test_suppressed_instrumentation_disables_no_budget() -> None:
    code = """
from opentelemetry import context
from budgeted import BudgetExceededError
token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))
manager.set_limits(None, "$0.001")
try:
    call()
except BudgetExceededError as error:
    print(error.reason)
"""
    assert run(code) == "spent"


def test_the_last_export_of_a_process_has_the_last_call() -> None:
    code = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader

def line(data):
    names = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
    return "; ".join(f"{m.name}={[p.value for p in m.data.data_points]}" for m in names if "spen" in m.name)

exporter = ConsoleMetricExporter(formatter=line)
metrics.set_meter_provider(MeterProvider(metric_readers=[PeriodicExportingMetricReader(exporter)]))
call()
"""
    assert run(code) == "budgeted.spend=[0.002]; budgeted.spent=[0.002]"


def test_a_provider_that_the_environment_names_and_nobody_has_stops_no_call() -> None:
    done = process(CALL + "call(); print(manager.balance().spent)", OTEL_PYTHON_METER_PROVIDER="nobody's")
    assert done.stdout.strip() == "0.002"
    assert "there will be no metrics" in done.stderr
