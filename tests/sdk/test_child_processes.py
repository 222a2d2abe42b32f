"""Children of a process pay as their parent does, however they are started."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from child_calls import Asking, AskingForked, AskingInItsOwnWay, ask, told
from forking import forked

import budgeted
from budgeted import BudgetExceededError, BudgetManager, bind

if TYPE_CHECKING:
    from collections.abc import Callable

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.sdk, pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

METHODS = ("fork", "spawn", "forkserver")
multiprocessing.set_forkserver_preload(["openai"])  # else each child imports it, which takes longer than to ask
TOO_SMALL = 0.000_001


@pytest.fixture(params=METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    return multiprocessing.get_context(request.param)


@pytest.fixture
def shared(paying: Callable[..., Paying], tmp_path: Path) -> Paying:
    """A manager whose ledger other processes can open."""
    return paying(ledger=tmp_path / "ledger")


def start(context: Any, url: str, count: int = 1, *args: Any) -> list[str]:
    """How the calls of so many children ended."""
    queue = context.Queue()
    children = [context.Process(target=told, args=(queue, url, *args)) for _ in range(count)]
    for child in children:
        child.start()
    ends = [end for _ in children for end in queue.get(timeout=120)]
    for child in children:
        child.join()
        assert child.exitcode == 0
    return ends


def users(payer: Paying) -> dict[str, int]:
    report = payer.manager.report("user")
    return {user: row.calls for user, row in report.items() if user != report.rest}


def test_children_are_charged_like_their_parent(context: Any, shared: Paying) -> None:
    with shared.manager.budget("team"), shared.manager.budget("alice"):
        assert start(context, shared.provider.openai_url, 2) == [""] * 2
    shared.agrees(2)
    assert users(shared) == {"team": 2, "alice": 2}


def test_children_are_refused_like_their_parent(context: Any, shared: Paying) -> None:
    shared.manager.set_limits("alice", TOO_SMALL)
    with shared.manager.budget("alice"):
        ends = start(context, shared.provider.openai_url, 2)
    assert ["BudgetExceededError: user 'alice'" in end for end in ends] == [True] * 2
    assert shared.provider.requests == []


def test_children_outside_every_block_are_the_global_accounts(context: Any, paying: Any, tmp_path: Path) -> None:
    payer = paying(ledger=tmp_path / "ledger", default_user_limits="$1/day", unattributed="deny")
    ends = start(context, payer.provider.openai_url, 2)
    assert [end.partition(":")[0] for end in ends] == ["UnattributedCallError"] * 2
    assert payer.provider.requests == []


def test_children_have_the_settings_of_their_parent(context: Any, paying: Any, tmp_path: Path) -> None:
    payer = paying(ledger=tmp_path / "ledger", unknown_users="deny")
    with payer.manager.budget("nobody"):
        ends = start(context, payer.provider.openai_url, 2)
    assert [end.partition(":")[0] for end in ends] == ["UnknownUserError"] * 2


def test_children_of_children_pay_as_well(context: Any, shared: Paying) -> None:
    with shared.manager.budget("alice"):
        queue = context.Queue()
        child = context.Process(target=grandchild, args=(context.get_start_method(), queue, shared.provider.openai_url))
        child.start()
        assert queue.get(timeout=120) == [""]
        child.join()
    shared.agrees(1)
    assert users(shared) == {"alice": 1}


def grandchild(method: str, queue: Any, url: str) -> None:
    child = multiprocessing.get_context(method).Process(target=told, args=(queue, url))
    child.start()
    child.join()


@pytest.mark.parametrize("kind", [Asking, AskingInItsOwnWay, AskingForked])
def test_a_process_that_overrides_run_pays_for_its_starter(kind: Any, shared: Paying) -> None:
    queue = multiprocessing.get_context("spawn").Queue()
    with shared.manager.budget("alice"):
        child = kind(queue, shared.provider.openai_url)
        child.start()
    assert queue.get(timeout=120) == [""]
    child.join()
    shared.agrees(1)
    assert users(shared) == {"alice": 1}


# -- pools


def test_a_pools_tasks_are_charged_to_whoever_submits_them(context: Any, shared: Paying) -> None:
    url = shared.provider.openai_url
    with shared.manager.budget("maker"):
        pool = context.Pool(2)
    with pool:
        with shared.manager.budget("apply"):
            assert pool.apply(ask, (url,)) == [""]
        with shared.manager.budget("map"):
            assert pool.map(ask, [url] * 3) == [[""]] * 3
        with shared.manager.budget("starmap"):
            assert pool.starmap(ask, [(url, 2)]) == [["", ""]]
        with shared.manager.budget("imap"):
            assert list(pool.imap(ask, [url] * 2)) == [[""]] * 2
        with shared.manager.budget("unordered"):
            assert list(pool.imap_unordered(ask, [url] * 2, chunksize=2)) == [[""]] * 2
        assert pool.apply(ask, (url,)) == [""]
    pool.join()
    shared.agrees(11)
    assert users(shared) == {"apply": 1, "map": 3, "starmap": 2, "imap": 2, "unordered": 2}


def test_an_executors_tasks_are_charged_to_whoever_submits_them(context: Any, shared: Paying) -> None:
    url = shared.provider.openai_url
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        with shared.manager.budget("submit"):
            future = pool.submit(ask, url)
        with shared.manager.budget("map"):
            assert list(pool.map(ask, [url] * 2)) == [[""]] * 2
        assert future.result() == [""]
    shared.agrees(3)
    assert users(shared) == {"submit": 1, "map": 2}


def test_a_pool_that_was_there_before_its_manager_is_metered(
    context: Any, provider: SimulatedProvider, paying: Any
) -> None:
    paying().manager.close()  # the hooks are in
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(int).result()
        payer = paying(ledger=None, max_budget=TOO_SMALL)
        assert "BudgetExceededError" in pool.submit(ask, provider.openai_url).result()[0]
    assert payer.provider.requests == []


def test_a_pool_of_threads_follows_as_well(payer: Paying) -> None:
    from multiprocessing.pool import ThreadPool

    with ThreadPool(1) as pool, payer.block("alice"):
        assert pool.map(ask, [payer.provider.openai_url]) == [[""]]
    pool.join()
    assert users(payer) == {"alice": 1}


def test_a_bound_function_pickles(context: Any, shared: Paying) -> None:
    with shared.manager.budget("alice"):
        bound = bind(ask)
    with shared.manager.budget("bob"):
        again = pickle.loads(pickle.dumps(bound))  # noqa: S301 - it comes from here
        assert again(shared.provider.openai_url) == [""]
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            assert pool.submit(run, bound, shared.provider.openai_url).result() == [""]
    shared.agrees(2)
    assert users(shared) == {"alice": 2}


def run(fn: Callable[..., Any], *args: Any) -> Any:
    return fn(*args)


# -- caps


def test_a_cap_without_a_key_is_shared_with_children(context: Any, shared: Paying) -> None:
    with shared.manager.budget("alice", cap=0.0008) as block:
        assert ask(shared.provider.openai_url) == [""]
        ends = start(context, shared.provider.openai_url, 2, 5)
        ends += ask(shared.provider.openai_url, 5)
    assert "" in ends
    assert any("a cap of $" in end for end in ends)
    assert shared.provider.wait_idle()
    assert shared.spent == shared.provider.billed_nano() <= 800_000
    assert block.remaining == pytest.approx(0.0008 - shared.spent / 1e9)


def test_what_calls_in_flight_leave_of_a_cap_is_for_the_children(shared: Paying, pool: Any) -> None:
    context = multiprocessing.get_context("spawn")
    answer = threading.Event()
    shared.provider.reply(gate=answer)
    with shared.manager.budget("alice", cap=0.0008) as block:
        first = pool.submit(ask, shared.provider.openai_url, 1, max_completion_tokens=370)
        assert shared.provider.wait_parked()
        assert "a cap of $" in start(context, shared.provider.openai_url)[0]
        answer.set()
        assert first.result() == [""]
        assert ask(shared.provider.openai_url) == [""]
        assert start(context, shared.provider.openai_url) == [""]
    assert block.calls == 2


def test_a_cap_with_a_key_is_one_for_parent_and_children(context: Any, shared: Paying) -> None:
    with shared.manager.budget(cap=0.0008, key="job"):
        ends = start(context, shared.provider.openai_url, 2, 8)
    assert "" in ends
    assert any("block 'job'" in end for end in ends)
    assert shared.spent == shared.provider.billed_nano() <= 800_000


def test_a_cap_is_shared_with_a_child_that_is_forked_by_hand(shared: Paying) -> None:
    with shared.manager.budget("alice", cap=0.0004) as block:
        ends = forked(lambda: ask(shared.provider.openai_url, 5)) + str(ask(shared.provider.openai_url, 5))
    assert "a cap of $" in ends
    assert shared.provider.wait_idle()
    assert 0 < shared.spent == shared.provider.billed_nano() <= 400_000
    assert block.remaining == pytest.approx(0.0004 - shared.spent / 1e9)


# -- what cannot be shared


def test_children_of_a_ledger_in_memory_are_refused_and_told_what_to_name(context: Any, payer: Paying) -> None:
    with payer.block("alice"):
        ends = start(context, payer.provider.openai_url, 2)
    assert [("in the memory of" in end, "ledger='./spend'" in end) for end in ends] == [(True, True)] * 2
    assert payer.provider.requests == []


def test_children_of_a_ledger_that_has_no_name_are_refused(paying: Callable[..., Paying], tmp_path: Path) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(f"sqlite:///{tmp_path / 'spend.db'}")
    payer = paying(ledger=engine)
    try:
        with payer.manager.budget("alice"):
            assert "(Engine)" in start(multiprocessing.get_context("spawn"), payer.provider.openai_url)[0]
            assert start(multiprocessing.get_context("fork"), payer.provider.openai_url) == [""]
        payer.agrees(1)
    finally:
        engine.dispose()


def test_a_setting_that_does_not_pickle_is_left_out_and_said_once(
    paying: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    payer = paying(ledger=tmp_path / "ledger", on_event=lambda event: None, timezone="Europe/Berlin")
    context = multiprocessing.get_context("spawn")
    with caplog.at_level(logging.WARNING, "budgeted"):
        for _ in range(2):
            with payer.manager.budget("alice"):
                assert start(context, payer.provider.openai_url) == [""]
    told = [one.getMessage() for one in caplog.records if "pickled" in one.getMessage()]
    assert len(told) == 1
    assert "on_event of project 'default' cannot be pickled" in told[0]


def test_children_have_the_prices_that_were_registered(shared: Paying, nothing_registered: None) -> None:
    budgeted.register_price("gpt-5-mini", input=100, output=100)
    with shared.manager.budget("alice", cap=0.001):
        ends = start(multiprocessing.get_context("spawn"), shared.provider.openai_url)
    assert "BudgetExceededError" in ends[0]


def test_without_hooks_children_are_left_alone(shared: Paying) -> None:
    shared.manager.set_limits("alice", TOO_SMALL)
    budgeted.uninstrument()
    try:
        with shared.manager.budget("alice"):
            assert start(multiprocessing.get_context("spawn"), shared.provider.openai_url) == [""]
    finally:
        budgeted.instrument()


def test_a_refusal_in_a_pool_reaches_the_parent_as_it_is(shared: Paying) -> None:
    shared.manager.set_limits("alice", TOO_SMALL)
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        shared.manager.budget("alice"),
        pytest.raises(BudgetExceededError, match="alice"),
    ):
        pool.submit(hold_a_dollar).result()


def hold_a_dollar() -> None:
    with budgeted.hold(cost=1) as held:
        held.settle(cost=1)


def test_a_child_knows_its_parents_manager_as_the_default_one(context: Any, shared: Paying) -> None:
    with context.Pool(1) as pool:
        assert pool.apply(project) == shared.manager.project_name
    pool.join()


@pytest.mark.parametrize(("ledger", "end"), [("spend", ""), ("memory://", "LedgerError")])
def test_a_child_whose_main_module_configures_goes_on_as_its_parent(
    ledger: str, end: str, provider: SimulatedProvider, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"""
import multiprocessing, sys
sys.path[:0] = {sys.path!r}
import budgeted
from child_calls import told
manager = budgeted.configure(project_name="app", ledger={ledger!r}, max_budget=1)
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with budgeted.budget("alice"):
        child = context.Process(target=told, args=(queue, {provider.openai_url!r}))
        child.start()
    print(queue.get(timeout=120)[0].partition(":")[0], sorted(manager.report("user")), end="")
    child.join()
""")
    command = [sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path)
    assert done.stdout == (f"{end} ['alice']" if not end else f"{end} []")


def project() -> str:
    manager = budgeted.get_manager()
    assert isinstance(manager, BudgetManager)
    return manager.project_name
