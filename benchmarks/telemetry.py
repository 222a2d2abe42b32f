"""What telemetry costs: a guarded call with OpenTelemetry's SDK attached next to one without, and a collection.

Each case runs in a process of its own, since an SDK can be installed once per process; the cases take turns, so that
what else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.guarded_call import call_times, check, guarded
from benchmarks.measuring import ROUNDS, line
from budgeted import BudgetManager

PASSES = 200
TURNS = 100
"""Many short turns: on a busy machine some of them run undisturbed."""

ACCOUNTS = 10_000
CASES = {
    "none": "guarded call without an SDK",
    "sdk": "with an SDK for metrics and traces, and a reader",
    "span": "and inside a span that is recorded",
    "semconv": "and with semconv=True",
}


def attach() -> None:
    """An SDK as it is deployed, with a reader that collects every second."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import (
        InMemoryMetricReader,
        MetricExporter,
        MetricExportResult,
        MetricsData,
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.trace import TracerProvider

    class Nowhere(MetricExporter):
        def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> object:
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis: float = 10_000) -> bool:
            return True

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
            pass

    readers = [PeriodicExportingMetricReader(Nowhere(), export_interval_millis=1_000), InMemoryMetricReader()]
    metrics.set_meter_provider(MeterProvider(readers))
    trace.set_tracer_provider(TracerProvider())


def case(name: str) -> None:
    """Print microseconds per call, a round each time a line comes in."""
    from opentelemetry import trace

    if name != "none":
        attach()
    with BudgetManager("telemetry", max_budget=10**6, ledger="memory://", semconv=name == "semconv") as manager:
        complete = guarded(manager)
        check(manager, complete)
        call_times(complete, 5 * PASSES)
        for _ in sys.stdin:
            started = time.perf_counter()
            if name in ("span", "semconv"):
                tracer = trace.get_tracer("benchmark")
                with tracer.start_as_current_span("request"):
                    call_times(complete, PASSES)
            else:
                call_times(complete, PASSES)
            print((time.perf_counter() - started) / PASSES * 1e6, flush=True)


def collection() -> float:
    """Milliseconds of one collection over many accounts, in the best of several."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from budgeted.manager import open_managers
    from budgeted.telemetry import instruments

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    with BudgetManager("collected", max_budget="$10/day", default_user_limits="$1/day", ledger="memory://") as manager:
        instruments.observe(provider.get_meter("budgeted"), open_managers.open_payers)
        for number in range(ACCOUNTS):
            with manager.hold(cost=0.00001, user=f"user-{number}") as held:
                held.settle(cost=0.00001)
        collected = reader.get_metrics_data()
        assert collected is not None
        assert '"budgeted.spent"' in collected.to_json(), "nothing is told of what was spent"
        times = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            reader.get_metrics_data()
            times.append(time.perf_counter() - started)
    provider.shutdown()
    return min(times) * 1e3


def main() -> None:
    run = [sys.executable, "-m", "benchmarks.telemetry", "--case"]
    started = {
        name: subprocess.Popen([*run, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in CASES
    }
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(TURNS):
        for name, process in started.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            times[name].append(float(process.stdout.readline()))
    for process in started.values():
        process.communicate()
    least = min(times["none"])
    for name, text in CASES.items():
        note = f"{min(times[name]) / least:.2f} times as much" + (" (aim: at most 1.15)" if name == "sdk" else "")
        line(text, f"{min(times[name]):.2f} us", note if name != "none" else "")
    line(f"a collection over {ACCOUNTS:,} accounts", f"{collection():.1f} ms", "(aim: below 100)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", choices=CASES)
    given = parser.parse_args().case
    if given:
        case(given)
    else:
        main()
