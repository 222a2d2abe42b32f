"""What every test gets: a ledger folder of its own, randomness that can be repeated, and a clock to set by hand."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import random
import signal
import tempfile
from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

import pytest
import trustme
from clocks import Clock
from hypothesis import settings

from budgeted.pricing import price_registry

if TYPE_CHECKING:
    from pathlib import Path

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

MANY_OBJECTS = 30_000
"""Objects that the collector looks through in a fraction of what the tests of a module take."""

# Else importing LiteLLM goes to the network, and so does its first call to Claude: a name may take minutes to look up.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # for the tokenizers of models that others have trained

# As DSPy is imported, it looks through all modules that are there: one second at first, ten after those of the tests.
if "PYTEST_XDIST_WORKER" in os.environ:
    with contextlib.suppress(ImportError):
        importlib.import_module("dspy")

# A shell has what it runs in the background ignore Ctrl-C, and so would all that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: it would judge the machine's load, not the code. The blob repeats a failing example.
settings.register_profile("budgeted", deadline=None, print_blob=True)
settings.load_profile("budgeted")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw Hypothesis's seed here, so that it can be printed, and so that all workers share it."""
    if config.option.hypothesis_seed is None:
        # One seed in CI: its verdict belongs to a commit, not to a run.
        seed = 0 if os.environ.get("CI") else random.randrange(2**32)
        config.option.hypothesis_seed = str(seed)
    # Each client reads the certificates of all authorities, which takes longer than most tests: one will do. Those that
    # the machine names are of no use here, as nothing is asked for elsewhere.
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    authority = os.path.join(folder.name, "authority.pem")
    trustme.CA().cert_pem.write_to_path(authority)
    os.environ["SSL_CERT_FILE"] = authority


def pytest_collection_finish() -> None:
    """Leave what the imported SDKs are made of to no collection: the tests that collect would each look through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def little_to_collect() -> None:
    """Leave what the tests before have imported to no collection either."""
    if len(gc.get_objects()) > MANY_OBJECTS:
        gc.collect()
        gc.freeze()


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat this run."""
    return f"to repeat: --hypothesis-seed={config.option.hypothesis_seed}"


if os.environ.get("SKIPS_FAIL"):

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Have a skipped test fail: this machine was set up so that all of them run."""
        return failing(item.nodeid, (yield))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        collector: pytest.Collector,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Have a module that is skipped as a whole fail likewise."""
        return failing(collector.nodeid, (yield))


def failing(what: str, report: Report) -> Report:
    """The report, of a failure if it was of a skip."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"SKIPS_FAIL: {what} was skipped here. {reason}"
    return report


@pytest.fixture(autouse=True)
def budgeted_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a folder of its own for the ledgers that are opened without a path."""
    home = tmp_path / "budgeted-home"
    monkeypatch.setenv("BUDGETED_HOME", str(home))
    return home


@pytest.fixture
def clock() -> Clock:
    """A clock at noon, for managers that the test makes."""
    return Clock()


@pytest.fixture
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no price that another test has registered, and none to the next."""
    monkeypatch.setattr(price_registry, "_registered", {})
    monkeypatch.setattr(price_registry, "_remembered", {})
