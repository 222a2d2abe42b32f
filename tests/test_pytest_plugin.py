"""The plugin of pytest counts and limits what tests spend, by the real SDK, across fixtures, loops and workers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgeted.testing import SimulatedProvider

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.slow, pytest.mark.sdk]

QUIET = (*(f"-pno:{name}" for name in ("hypothesispytest", "celery", "faker", "cacheprovider")), "-rfs", "--tb=short")
"""Without the plugins of others that take longest to load."""

ASKING = """
    import os
    import openai
    import pytest

    def question(client):
        return client.chat.completions.create(
            model="gpt-5-mini",
            max_completion_tokens=100,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            extra_headers={"x-simulate": '{"input_tokens": 10, "output_tokens": 100}'},
        )

    def ask():
        with openai.OpenAI(base_url=os.environ["PROVIDER_URL"], api_key="any", max_retries=0) as client:
            return question(client)

    async def ask_async():
        async with openai.AsyncOpenAI(base_url=os.environ["PROVIDER_URL"], api_key="any", max_retries=0) as client:
            return await question(client)
"""

COST = 0.0002025
"""USD of one such call."""

HOLDING = """
    import pytest
    from budgeted import BudgetExceededError, hold

    def spend(usd):
        with hold(cost=usd) as held:
            held.settle(cost=usd)
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture
def tests(pytester: pytest.Pytester, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of tests that can ask and spend."""
    monkeypatch.setenv("PROVIDER_URL", provider.openai_url)
    monkeypatch.setenv("TMPDIR", str(pytester.mkdir("temporary")))
    pytester.makepyfile(asking=ASKING, holding=HOLDING)
    pytester.makepyfile(conftest="import sys; sys.path.insert(0, __file__.rpartition('/')[0])")
    provider.reset()
    return pytester


def run(tests: pytest.Pytester, *options: str) -> pytest.RunResult:
    """The tests' run, which leaves nothing behind that a later one could go on with."""
    result = tests.runpytest_subprocess(*QUIET, *options, timeout=120)
    assert list((tests.path / "temporary").glob("budgeted-*")) == []
    return result


def test_a_test_is_charged_with_what_it_calls_however_it_runs(
    tests: pytest.Pytester, provider: SimulatedProvider
) -> None:
    tests.makepyfile(
        test_calls="""
        import multiprocessing
        import threading
        import time
        import unittest
        import pytest
        import time_machine
        from asking import ask, ask_async
        from budgeted import BudgetManager, UnpricedModelError, budget, configure, get_manager, hold

        COST = 0.0002025

        def ask_for(user):
            with budget(user):
                ask()

        @pytest.fixture(scope="session", autouse=True)
        def application(tmp_path_factory):
            with configure(project_name="app", ledger=str(tmp_path_factory.mktemp("ledger")), max_budget=1) as manager:
                yield manager

        @pytest.fixture(scope="session")
        def team():
            ask()
            with budget("team"):
                yield
                ask()

        @pytest.fixture
        def asked():
            ask()
            yield
            ask()

        @pytest.fixture(scope="session")
        def anyio_backend():
            return "asyncio"

        @pytest.fixture(scope="session")
        async def room(anyio_backend):  # its runner, whose context is that of the first test, runs all of them
            await ask_async()

        def spent(llm_budget, calls):
            assert llm_budget.calls == calls
            assert llm_budget.spent == pytest.approx(calls * COST)
            return llm_budget.spent < 0.05

        def test_by_a_clock_of_its_own(llm_budget):
            with BudgetManager("past", ledger="memory://", max_budget="$1/day", clock=lambda: 1_000_000) as manager:
                with manager.budget("bob"):
                    ask()
                assert manager.balance("bob").spent == pytest.approx(COST)
                assert manager.balance().period_start.year == 1970
            assert spent(llm_budget, 1)

        def test_at_another_time(llm_budget, caplog):
            with time_machine.travel("2035-01-01"), BudgetManager(ledger="memory://", clock=time.monotonic) as manager:
                with manager.hold(cost=0) as held:
                    held.settle(cost=0)
            assert caplog.records == []
            assert llm_budget.calls == 1

        @pytest.mark.anyio
        async def test_first(room, llm_budget):
            await ask_async()
            assert spent(llm_budget, 1)

        @pytest.mark.anyio
        async def test_second(room, llm_budget):
            await ask_async()
            await ask_async()
            assert spent(llm_budget, 2)

        @pytest.mark.asyncio(loop_scope="session")
        async def test_third(llm_budget):
            await ask_async()
            assert spent(llm_budget, 1)

        def test_inside_a_wider_block(team, asked, llm_budget):
            ask()
            assert spent(llm_budget, 2)

        def test_in_a_thread(llm_budget):
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
            assert spent(llm_budget, 1)

        @pytest.mark.parametrize("start", ["spawn", "fork"])
        def test_in_a_child(start, llm_budget):
            child = multiprocessing.get_context(start).Process(target=ask)
            child.start()
            child.join()
            assert spent(llm_budget, 1)

        def test_in_a_child_with_budgets_of_its_own(llm_budget, caplog):
            child = multiprocessing.get_context("fork").Process(target=ask_for, args=("a child",))
            child.start()
            child.join()
            assert spent(llm_budget, 1)
            assert caplog.records == []

        def test_in_a_pool(llm_budget):
            with multiprocessing.get_context("fork").Pool(1) as pool:
                pool.apply(ask)
            assert spent(llm_budget, 1)

        def test_beside_the_application(application, llm_budget):
            before = application.balance().spent
            ask()
            with budget("alice", cap=0.1) as block:
                ask()
                assert get_manager() is application
            assert block.spent == pytest.approx(COST)
            assert application.balance("alice").spent == pytest.approx(COST)
            assert application.balance().spent == pytest.approx(before + 2 * COST)
            assert spent(llm_budget, 2)

        class TestOld(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                ask()

            def test_old(self):
                ask()

        kept = []

        def test_free(llm_budget):
            kept.append(llm_budget)
            assert spent(llm_budget, 0)
            assert "spent=0.0, calls=0" in repr(llm_budget)

        def test_of_an_unknown_price(llm_budget):
            with pytest.raises(UnpricedModelError):
                hold("a-model-of-ours", "Hello!").__enter__()
            with hold(cost=0) as held:
                held.settle(cost=0)
            assert (llm_budget.spent, llm_budget.calls) == (0, 1)
            assert kept[0].calls == 0
        """
    )
    result = run(tests, "-W", "ignore::DeprecationWarning")
    result.assert_outcomes(passed=15)
    result.stdout.fnmatch_lines(
        [
            "*= LLM budget =*",
            "*spent  calls  test",
            "$0.0006075  *3  test_calls.py::test_inside_a_wider_block",
            "*$0.000405  *2  test_calls.py::test_beside_the_application",
            "*$0.000405  *2  test_calls.py::test_second",
            "*$0.0002025  *1  test_calls.py::TestOld::test_old",
            "*$0.000405  *4  (4 more)",
            "*$0.00081  *4  (no single test: wider fixtures, collection)",
            "$0.004* in 22 calls",
        ]
    )
    assert len(provider.bill) == 20


def test_past_the_limit_of_the_run_tests_that_call_are_skipped_with_the_reason(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        test_limit="""
        import pytest
        from holding import BudgetExceededError, spend

        def test_first():
            spend(0.6)

        def test_refused():
            spend(0.6)

        def test_refused_and_swallowed():
            try:
                spend(0.6)
            except BudgetExceededError as error:
                assert "the application goes on" in str(error)

        def test_refused_and_glad():
            with pytest.raises(BudgetExceededError):
                spend(0.6)

        @pytest.mark.xfail(raises=ValueError, strict=True)
        def test_expected_to_fail_otherwise():
            spend(0.6)

        @pytest.fixture(scope="module")
        def dear():
            spend(0.6)

        def test_with_a_dear_fixture(dear): ...

        def test_with_the_same_fixture(dear): ...

        def test_that_does_not_call(): ...

        def test_that_fails_by_itself():
            assert 1 == 2

        def test_cheap_enough():
            spend(0.25)

        def test_dearer_than_a_test_may_be():
            spend(0.4)

        @pytest.mark.llm_budget("$0.01")
        def test_dearer_than_its_mark_allows():
            spend(0.02)
        """
    )
    tests.makeini("[pytest]\nllm_budget = $1\nllm_budget_per_test = $0.7")
    result = run(tests, "--llm-budget-per-test", "0.65")
    result.assert_outcomes(passed=4, skipped=6, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*the LLM budget of this test, $0.01, has $0.01 left, and a call did not fit",
            "*$0.60 *1  test_limit.py::test_first",
            "*$0.25 *1  test_limit.py::test_cheap_enough",
            "$0.85 in 2 calls of $1.00, $0.15 left",
            "tests skipped since the run's limit had no room for their calls: 6",
            "FAILED test_limit.py::test_that_fails_by_itself*",
            "FAILED test_limit.py::test_dearer_than_its_mark_allows*",
            "SKIPPED * test_limit.py:*: the LLM budget of this run, $1, has $0.40 left, and a call did not fit",
            "SKIPPED * a call did not fit; the test went on and failed with AssertionError: assert 'the app*",
            "SKIPPED * test_limit.py:*: a fixture was refused by the LLM budget of this run: the global budget has *",
        ]
    )
    result.stdout.no_fnmatch_line("*when_it_does_not_fit*")


def test_past_the_limit_of_the_run_tests_fail_where_that_is_wished(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        test_limit="""
        from holding import spend

        def test_first():
            spend(0.6)

        def test_refused():
            spend(0.6)
        """
    )
    result = run(tests, "--llm-budget", "$1", "--llm-budget-fail")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*the LLM budget of this run, $1, has $0.40 left*",
            "tests failed since the run's limit had no room for their calls: 1",
        ]
    )


def test_workers_share_the_limit(tests: pytest.Pytester, provider: SimulatedProvider) -> None:
    tests.makepyfile(
        test_many="""
        import pytest
        from asking import ask

        @pytest.mark.parametrize("number", range(12))
        def test_call(number):
            ask()

        @pytest.mark.llm_budget(0)
        def test_free(llm_budget):
            assert llm_budget.spent == 0
        """
    )
    result = run(tests, "-n", "2", "--llm-budget", "$0.0015")
    passed = len(provider.bill)
    assert 5 <= passed <= 7  # a call may need a little more than it costs
    result.assert_outcomes(passed=passed + 1, skipped=12 - passed)
    result.stdout.fnmatch_lines(
        [
            "*$0.0002025 *1  test_many.py::test_call*",
            f"$0.00* in {passed} calls of $0.0015, $0.000* left",
            f"tests skipped since the run's limit had no room for their calls: {12 - passed}",
        ]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--llm-budget", "$2/day"), "--llm-budget must be a number of USD, such as *, got '$2/day'"),
        (("--llm-budget", ""), "--llm-budget must be a number of USD*, got ''"),
        (("--llm-budget-per-test", "-1"), "--llm-budget-per-test must not be negative, got '-1'"),
        (("-o", "llm_budget=much"), "llm_budget in the configuration must be a number of USD*, got 'much'"),
        (("-n", "1", "--llm-budget", "nan"), "--llm-budget must be finite, got 'nan'"),  # by the controller
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_once(
    options: tuple[str, ...], said: str, tests: pytest.Pytester
) -> None:
    result = tests.runpytest_subprocess(*QUIET, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


def test_a_module_whose_marks_make_no_sense_is_not_run(tests: pytest.Pytester) -> None:
    for number, mark in enumerate(('"$2/day"', "True", "usd=1", '"$1", "$2"')):
        tests.makepyfile(**{f"test_{number}": f"import pytest\n@pytest.mark.llm_budget({mark})\ndef test(): ...\n"})
    tests.makepyfile(test_good="def test(): ...")
    result = tests.runpytest_subprocess(*QUIET, "-n", "1")
    result.assert_outcomes(errors=4, passed=1)  # a worker goes on with the other modules
    result.stdout.fnmatch_lines_random(
        [
            "test_0.py::test: what the mark llm_budget allows must be a number of USD*, got '$2/day'",
            "test_1.py::test: what the mark llm_budget allows must be a number of USD*, got True",
            "test_2.py::test: the mark takes one amount, such as llm_budget(*), got llm_budget(usd=1)",
            "test_3.py::test: the mark takes one amount, such as llm_budget(*), got llm_budget('$1', '$2')",
        ]
    )


def test_the_examples_of_the_page_pass(tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "testing-your-app.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for number, example in enumerate(examples):
        (tests.path / f"test_example_{number}.py").write_text(example, encoding="utf-8")
    monkeypatch.setenv("OPENAI_BASE_URL", os.environ["PROVIDER_URL"])
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    run(tests).assert_outcomes(passed=len(examples))
    assert len(examples) == 3


def test_nothing_is_loaded_where_nothing_of_it_is_used(tests: pytest.Pytester) -> None:
    tests.makepyfile(
        """
        import sys

        def test_modules():
            loaded = {name for name in sys.modules if name.partition(".")[0] == "budgeted"}
            assert loaded == {"budgeted", "budgeted.integrations", "budgeted.integrations.pytest_plugin"}
            assert not {"msgspec", "wrapt", "opentelemetry", "tiktoken"} & set(sys.modules)
        """
    )
    tests.makepyfile(
        conftest="""
        import sys

        def pytest_unconfigure(config):
            print("loaded:", sorted(name for name in sys.modules if name.startswith("budgeted.")))
        """
    )
    result = run(tests, "-n", "1")  # a controller, which says so as it ends, and a worker
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*LLM budget*")
    result.stdout.fnmatch_lines(["loaded: ['budgeted.integrations', 'budgeted.integrations.pytest_plugin']"])
