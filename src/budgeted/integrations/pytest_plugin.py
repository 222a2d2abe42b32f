"""What tests may spend: ``pytest --llm-budget '$2'``, ``@pytest.mark.llm_budget("$0.10")``, the fixture ``llm_budget``.

pytest loads this module in every run where budgeted is installed. Nothing of the package is loaded, and nothing hooked,
before one of these is used.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from budgeted.integrations.budget_of_test_run import BudgetOfRun

MARK = "llm_budget"

_T = TypeVar("_T")


class Settings(NamedTuple):
    """What the command line and the configuration file say.

    Args:
        limit: nano-USD that the run may spend; None for any amount.
        per_test: nano-USD that each test may spend; None for any amount.
        fail: whether tests that the run's limit has no room for fail, rather than being skipped.
    """

    limit: int | None
    per_test: int | None
    fail: bool

    @property
    def given(self) -> bool:
        """Whether there is a limit."""
        return self.limit is not None or self.per_test is not None


class LLMBudget:
    """What a test has spent so far, with its fixtures; the fixture ``llm_budget`` is one.

    Attributes:
        spent: USD.
        calls: calls that were sent.

    Example:
        >>> def test_the_answer_is_cheap(llm_budget):
        ...     answer("What is the capital of France?")
        ...     assert llm_budget.spent < 0.05
        ...     assert llm_budget.calls == 1
    """

    def __init__(self, totals: Callable[[], tuple[float, int]]) -> None:
        self._totals = totals

    @property
    def spent(self) -> float:
        """USD charged to the test so far."""
        return self._totals()[0]

    @property
    def calls(self) -> int:
        """Calls that the test was charged for so far."""
        return self._totals()[1]

    def __repr__(self) -> str:
        return f"<LLM budget of the test: spent={self.spent!r}, calls={self.calls!r}>"


class _Node(Protocol):
    """A worker of pytest-xdist, as its controller knows it."""

    config: pytest.Config
    workerinput: dict[str, object]


_SETTINGS = pytest.StashKey[Settings]()
_RUN = pytest.StashKey["BudgetOfRun"]()
_FOLDER = pytest.StashKey[str]()
"""The folder of the run's ledger, which this process removes."""

_BLAMED = pytest.StashKey[list[BaseException]]()
"""What tests have ended with after a refusal: a fixture that others share ends them with the same object."""

_INPUT = "budgeted_ledger"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, and what stands for them in a configuration file."""
    group = parser.getgroup(MARK, "what LLM calls may cost (budgeted)")
    group.addoption("--llm-budget", metavar="USD", help="what the whole run may spend on LLM calls, such as '$2'")
    group.addoption("--llm-budget-per-test", metavar="USD", help="what each test may spend that has no llm_budget mark")
    group.addoption("--llm-budget-fail", action="store_true", help="past --llm-budget, fail tests that call, not skip")
    parser.addini("llm_budget", "what --llm-budget is if it is not given")
    parser.addini("llm_budget_per_test", "what --llm-budget-per-test is if it is not given")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Read what is to be kept to, and keep to it from here on, if there is a limit."""
    config.addinivalue_line("markers", f'{MARK}(usd): what the test may spend on LLM calls, such as "$0.10"')
    limit, per_test = (_given(config, name) for name in ("llm_budget", "llm_budget_per_test"))
    settings = config.stash[_SETTINGS] = Settings(limit, per_test, config.getoption("llm_budget_fail"))
    config.stash[_BLAMED] = []
    distributes = getattr(config.option, "dist", "no") != "no" and not hasattr(config, "workerinput")
    if settings.given and not distributes and not config.option.collectonly:
        _run_of(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: _Node) -> None:
    """Tell a worker of pytest-xdist where the ledger is that all of them share."""
    node.workerinput[_INPUT] = _folder(node.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse marks that make no sense, as a mistake of the module: so workers of pytest-xdist are heard as well."""
    report = yield
    for one in report.result or ():
        try:
            if isinstance(one, pytest.Item):
                _limit_of(one)
        except pytest.UsageError as error:
            report.outcome, report.longrepr, report.result = "failed", str(error), []
            break
    return report


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count from here on, if a test wants it."""
    wanted = [_limit_of(item) is not None or MARK in getattr(item, "fixturenames", ()) for item in session.items]
    if any(wanted) and not session.config.option.collectonly:
        _run_of(session.config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, _T, _T]:
    """Charge a test with all that it does, until it ends."""
    try:
        return (yield)
    finally:
        run = item.config.stash.get(_RUN, None)
        if run is not None:
            run.end()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin to charge a test; anew, where it is run again."""
    run = item.config.stash.get(_RUN, None)
    if run is not None:
        run.begin(item.nodeid, _limit_of(item))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Keep to a mark that a fixture has added."""
    limit = _limit_of(item)
    if limit is not None:
        _run_in(item).limit(limit)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, _T, _T]:
    """Charge the run with a fixture that tests share, as it begins and ends, and not the test that happens to run."""
    run = request.config.stash.get(_RUN, None)
    if run is None or fixturedef.scope == "function":
        return (yield)
    # What is added first is done last.
    fixturedef.addfinalizer(run.leave_wider)
    run.enter_wider()
    try:
        return (yield)
    finally:
        run.leave_wider()
        fixturedef.addfinalizer(run.enter_wider)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skip a test that failed since the run's limit had no room for its calls, and say of others what was refused."""
    run = item.config.stash.get(_RUN, None)
    if run is not None and not item.config.option.fulltrace:
        _shorten(call)
    report = yield
    if run is not None and report.failed and call.excinfo is not None:
        _judge(item, report, call.excinfo.value, run)
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Have the controller of pytest-xdist read all that was spent."""
    run = session.config.stash.get(_RUN, None)
    if run is not None:
        run.finish()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what the tests have cost."""
    lines = _costs(config.stash.get(_FOLDER, None))
    if lines:
        refused = [
            report
            for outcome in ("skipped", "failed", "error")
            for report in terminalreporter.getreports(outcome)
            if hasattr(report, _INPUT)
        ]
        terminalreporter.section("LLM budget")
        for line in lines:
            terminalreporter.write_line(line)
        if refused:
            fate = "failed" if config.stash[_SETTINGS].fail else "skipped"
            why = f"tests {fate} since the run's limit had no room for their calls: {len(refused)}"
            terminalreporter.write_line(why)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Charge nobody any more, and forget what this run has spent."""
    run = config.stash.get(_RUN, None)
    folder = config.stash.get(_FOLDER, None)
    try:
        if run is not None:
            run.close()
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def llm_budget(request: pytest.FixtureRequest) -> LLMBudget:
    """What the test has spent on LLM calls so far: ``.spent`` in USD, and ``.calls``."""
    return LLMBudget(_run_in(request.node).spent())


def _given(config: pytest.Config, name: str) -> int | None:
    """A limit (nano-USD), of the command line or else of the configuration file; None if there is none."""
    value = config.getoption(name)
    if value is not None:
        return _nano(value, "--" + name.replace("_", "-"))
    value = config.getini(name)
    return _nano(value, f"{name} in the configuration") if value else None


def _nano(value: object, what: str) -> int:
    from budgeted.money import nano_usd

    try:
        return nano_usd(value, what, up=False)
    except (ValueError, TypeError) as error:
        raise pytest.UsageError(str(error)) from None


def _limit_of(item: pytest.Item) -> int | None:
    """What the mark next to a test allows it (nano-USD); None without one."""
    mark = item.get_closest_marker(MARK)
    if mark is None:
        return None
    if len(mark.args) != 1 or mark.kwargs:
        shown = ", ".join([*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items())])
        msg = f'{item.nodeid}: the mark takes one amount, such as {MARK}("$0.10"), got {MARK}({shown})'
        raise pytest.UsageError(msg)
    return _nano(mark.args[0], f"{item.nodeid}: what the mark {MARK} allows")


def _folder(config: pytest.Config) -> str:
    """The folder of the run's ledger: the controller's, else one that is made now."""
    given = getattr(config, "workerinput", {}).get(_INPUT)
    if given is not None:
        if not Path(given).is_dir():  # a ledger of its own would be a limit of its own
            msg = f"the LLM budget of the run is kept in {given}, which is not on this host: its workers need one host"
            raise pytest.UsageError(msg)
        return str(given)
    if _FOLDER not in config.stash:
        config.stash[_FOLDER] = tempfile.mkdtemp(prefix="budgeted-pytest-")
    return config.stash[_FOLDER]


def _costs(folder: str | None) -> list[str]:
    """The lines of the table; none where this process keeps no ledger, or nobody has used it."""
    if folder is None or not any(Path(folder).iterdir()):
        return []
    from budgeted.errors import LedgerError
    from budgeted.integrations.costs_of_tests import table

    try:
        return table(folder)
    except LedgerError as error:
        return [f"what the tests have cost cannot be read: {error}"]


def _run_of(config: pytest.Config) -> BudgetOfRun:
    """What counts and limits the calls of a run, from the first time on that it is asked for."""
    if _RUN not in config.stash:
        from budgeted.errors import LedgerError
        from budgeted.integrations.budget_of_test_run import BudgetOfRun

        settings = config.stash[_SETTINGS]
        try:
            config.stash[_RUN] = BudgetOfRun(_folder(config), settings.limit, settings.per_test)
        except LedgerError as error:
            msg = f"the LLM budget of the run cannot be kept: {error}"
            raise pytest.UsageError(msg) from error
    return config.stash[_RUN]


def _run_in(item: pytest.Item) -> BudgetOfRun:
    """The same, where a test asks for it while it runs: from here on, if it is the first one."""
    known = _RUN in item.config.stash
    run = _run_of(item.config)
    if not known:
        run.begin(item.nodeid, _limit_of(item))
    return run


def _shorten(call: pytest.CallInfo[None]) -> None:
    """Have a refusal be shown with the user's line last, as ``--full-trace`` shows what lies behind."""
    from budgeted.errors import BudgetError
    from budgeted.short_tracebacks import up_to_users_line

    error = None if call.excinfo is None else call.excinfo.value
    if isinstance(error, BudgetError) and (trace := up_to_users_line(error.__traceback__)) is not None:
        call.excinfo = pytest.ExceptionInfo.from_exc_info((type(error), error, trace))


def _judge(item: pytest.Item, report: pytest.TestReport, error: BaseException, run: BudgetOfRun) -> None:
    """Tell why a test failed in which calls were refused; skip it, if that was for want of what the run may spend."""
    from budgeted.errors import BudgetExceededError
    from budgeted.integrations.budget_of_test_run import told

    chain = list(_chain(error))
    blamed = item.config.stash[_BLAMED]
    by_run = [event for event in run.refusals if event.account_kind == "global"]
    if by_run or any(one is other for one in chain for other in blamed):
        reason = told(by_run[0]) if by_run else f"a fixture was refused by the LLM budget of this run: {error}"
        if not isinstance(error, BudgetExceededError):
            reason += f"; the test went on and failed with {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        if report.when == "setup":
            blamed.append(error)
        setattr(report, _INPUT, True)
        if not item.config.stash[_SETTINGS].fail:
            path, line, _ = item.location
            report.outcome = "skipped"
            report.longrepr = str(item.config.rootpath / path), (line or 0) + 1, f"Skipped: {reason}"
            return
        report.sections.append(("LLM budget", reason))
    elif run.refusals:
        report.sections.append(("LLM budget", told(run.refusals[0])))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those that it came of."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
