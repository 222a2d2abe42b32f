"""Ledgers in a database: the tables, whose they are, and a server that is slow, away, or cuts its replies."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from ledgers import (
    ALICE,
    AT,
    charge,
    check,
    cost,
    finish,
    give,
    held,
    hold,
    kill,
    opened,
    python,
    route,
    spent,
    together,
    usd,
)
from proxy import Proxy
from servers import postgres_url, project

from budgeted import BudgetExceededError, BudgetManager
from budgeted.errors import LedgerCorruptError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.connection_slots import ConnectionSlots
from budgeted.ledger.sql.ledger import SQLLedger

PASSWORD = "s3cr3t-w0rd"  # noqa: S105 - nobody's


@pytest.fixture
def prefix() -> str:
    """Of tables that no other test has."""
    return project().replace("-", "_") + "_"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database."""
    return f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else postgres_url()


# -- tables


@pytest.mark.slow
def test_eight_processes_that_start_at_once_make_the_tables_once(url: str, prefix: str) -> None:
    program = """
        import sys
        from ledgers import *
        from budgeted.ledger.sql.ledger import SQLLedger
        print("ready", flush=True)
        sys.stdin.readline()
        ledger = SQLLedger(sys.argv[1], "p", prefix=sys.argv[2])
        ledger.set_limits(GLOBAL, [usd(1000)], create=True)
        charge(ledger, 1, GLOBAL)
        ledger.close()
    """
    workers = [python(program, url, prefix) for _ in range(8)]
    together(*workers)
    finish(*workers)
    ledger = SQLLedger(url, "p", prefix=prefix)
    assert (spent(ledger), held(ledger)) == (8, 0)
    check(ledger)
    ledger.close()


def test_a_prefix_keeps_ledgers_apart(url: str, prefix: str) -> None:
    one, other = SQLLedger(url, prefix=prefix), SQLLedger(f"{url}{'&' if '?' in url else '?'}table_prefix={prefix}b_")
    give(one, GLOBAL, usd(10))
    assert other.read(GLOBAL) is None
    one.close()
    other.close()


def test_tables_of_a_later_version_are_left_alone(url: str, prefix: str) -> None:
    SQLLedger(url, prefix=prefix).close()
    engine = sa.create_engine(sa.make_url(url).set(drivername="sqlite" if "sqlite" in url else "postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {prefix}schema SET version = 99"))  # noqa: S608
    engine.dispose()
    with pytest.raises(LedgerError, match="version 99, and this release of budgeted knows 3; upgrade it"):
        SQLLedger(url, prefix=prefix)


def test_a_role_that_may_only_read_and_write_will_do(prefix: str) -> None:
    SQLLedger(postgres_url(), "p", prefix=prefix).close()
    engine = sa.create_engine(sa.make_url(postgres_url()).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {prefix}app LOGIN"))
        for table in ("schema", "projects", "owners", "accounts", "holds", "ended", "doubts", "reports"):
            connection.execute(sa.text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {prefix}{table} TO {prefix}app"))
    engine.dispose()
    ledger = SQLLedger(sa.make_url(postgres_url()).set(username=f"{prefix}app").render_as_string(), "q", prefix=prefix)
    give(ledger, GLOBAL, usd(10))
    charge(ledger, 4, GLOBAL)
    ledger.sweep()
    ledger.prune()
    assert spent(ledger) == 4
    check(ledger)
    ledger.close()


def test_an_engine_of_the_users_own_stays_the_users(url: str, prefix: str) -> None:
    drivername = "sqlite" if "sqlite" in url else "postgresql+psycopg"
    engine = sa.create_engine(sa.make_url(url).set(drivername=drivername))
    ledger = SQLLedger(engine, prefix=prefix)
    give(ledger, GLOBAL, usd(10))
    charge(ledger, 4, GLOBAL)
    assert isinstance(hold(ledger, 7, GLOBAL), Refused)
    check(ledger)
    ledger.close()
    with engine.connect() as connection:
        assert connection.execute(sa.text(f"SELECT usd FROM {prefix}accounts")).scalar_one() == 4  # noqa: S608
    engine.dispose()


def test_managers_of_one_url_share_a_ledger(url: str) -> None:
    name = project()
    with BudgetManager(name, max_budget=5, ledger=url) as one, BudgetManager(name, ledger=url) as other:
        assert one.ledger is other.ledger
        with one.hold(cost=2, user="alice") as held:
            held.settle(cost=1.5)
        assert (other.balance().spent, other.balance("alice").spent) == (1.5, 1.5)
        with pytest.raises(BudgetExceededError):
            other.hold(cost=4).__enter__()
        assert list(other.report("user")) == ["alice"]


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("sqlite://", "an SQLite ledger needs a file"),
        ("sqlite:////proc/nowhere/x.db", "the ledger's file /proc/nowhere/x.db cannot be made: No such file"),
        ("sqlite:///x.db?table_prefix=" + "x" * 41, "is too long for PostgreSQL's names; write at most 40 bytes"),
        ("sqlite+aiosqlite:///x.db", "is no database that a ledger can be in"),
        ("postgresql+asyncpg://u:s3cr3t-w0rd@h/d", "write 'sqlite:////path/to/file.db' or 'postgresql\\+psycopg://"),
        ("postgresql+psycopg://u:s3cr3t-w0rd@h:port/d", "the ledger's URL cannot be read; write 'sqlite:////path"),
        ("sqlite:///~nobody-here/x.db", "begins with a home that nobody knows here"),
        ("mysql://u:s3cr3t-w0rd@h/d", "is not a ledger this version knows"),
        ("postgresql+psycopg://u:s3cr3t-w0rd@127.0.0.1:1/d", "the ledger at 127.0.0.1:1 is not available"),
    ],
)
def test_what_cannot_be_a_ledger_is_told_without_its_password(where: str, text: str) -> None:
    with pytest.raises(LedgerError, match=text) as caught:
        open_ledger(where, "p", fsync="background")
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_names_that_no_index_takes_are_charged_all_the_same(url: str, prefix: str) -> None:
    ledger = SQLLedger(url, prefix=prefix)
    give(ledger, GLOBAL, usd(10))
    names = ["".join(chr(33 + (i * j) % 90) for i in range(5_000)) for j in (7, 11)]
    for name in names:
        charge(ledger, 1, GLOBAL, model=name)
    assert [row.usd for row in ledger.rollups()] == [1, 1]
    assert ledger.read(GLOBAL).models == dict.fromkeys(names, 1)
    ledger.close()


def test_sqlite_syncs_for_who_asks_for_it_where_the_file_is_open_already(tmp_path: Path) -> None:
    where = f"sqlite:///{tmp_path}/ledger.db"
    synchronous: list[int] = []

    def note(driver: Any) -> None:
        synchronous.append(driver.execute("PRAGMA synchronous").fetchone()[0])

    ledger: Any = open_ledger(where, "p", fsync="background")
    give(ledger, GLOBAL, usd(10))
    for fsync in ("background", "always", "background"):
        assert open_ledger(where, "p", fsync=fsync) is ledger
        charge(ledger, 1, GLOBAL)
        ledger._database.run(note, time.monotonic() + 10)
    assert synchronous == [1, 2, 2]  # NORMAL, then FULL
    ledger.close()


# -- a server that is far away


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    socket = sa.make_url(postgres_url()).query["host"]
    with Proxy(f"{socket}/.s.PGSQL.5432") as made:
        yield made


@pytest.fixture
def through(proxy: Proxy) -> str:
    """The URL of the server behind the proxy."""
    return (
        f"postgresql+psycopg://postgres:{PASSWORD}@127.0.0.1:{proxy.port}/postgres?sslmode=disable&gssencmode=disable"
    )


@pytest.fixture
def far(proxy: Proxy, through: str) -> Iterator[Any]:
    made = SQLLedger(through, project())
    yield made
    proxy.accept()
    made.close()


@pytest.mark.parametrize("spare", range(4))
def test_a_reply_that_is_cut_applies_nothing_twice(far: Any, proxy: Proxy, spare: int) -> None:
    """Each verb is repeated until it is answered; what had been committed is found so."""
    give(far, GLOBAL, usd(1000))
    where = route(far, GLOBAL)

    def cutting() -> None:
        proxy.spare, proxy.cut = spare, 1

    cutting()
    one = far.hold(far.new_id(), where, cost(60), AT)
    assert one.usd == held(far) == 60
    cutting()
    assert far.settle(one.id, Used(40, 1, 1), AT)
    assert (spent(far), held(far)) == (40, 0)
    cutting()
    assert far.post("x.1", where, Used(5), AT) is True
    cutting()
    far.correct("x.1", Used(6), AT)
    other = far.hold(far.new_id(), where, cost(7), AT)
    cutting()
    far.release(other.id, AT)
    cutting()
    give(far, GLOBAL, usd(2000))
    assert (spent(far), held(far), far.read(GLOBAL).calls) == (46, 0, 2)
    assert [(row.calls, row.usd) for row in far.rollups()] == [(2, 46)]
    check(far)


def test_a_server_that_is_away_is_named_without_its_password(far: Any, proxy: Proxy) -> None:
    give(far, GLOBAL, usd(1000))
    where = route(far, GLOBAL)
    proxy.refuse()
    with pytest.raises(LedgerUnavailableError, match=f"127.0.0.1:{proxy.port} is not available") as caught:
        far.hold(far.new_id(), where, cost(60), AT)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in repr(far)
    proxy.accept()
    assert far.hold(far.new_id(), where, cost(60), AT).usd == 60


def test_a_server_that_does_not_answer_is_given_up_at_the_deadline(far: Any, proxy: Proxy) -> None:
    give(far, GLOBAL, usd(1000))
    where = route(far, GLOBAL)
    far.hold(far.new_id(), where, cost(0), AT)
    proxy.stalled = True
    started = time.monotonic()
    with pytest.raises(LedgerUnavailableError, match=r"did not answer within 0\.3 seconds"):
        far.hold(far.new_id(), where, cost(60), AT, timeout=0.3)
    assert time.monotonic() - started < 3
    proxy.stalled = False
    proxy.hang_up()
    assert far.hold(far.new_id(), where, cost(60), AT).usd == 60
    background_worker.drain()
    assert held(far) == 60


def given_up(verb: Any) -> float:
    """Seconds until a verb gave up at a deadline."""
    started = time.monotonic()
    with pytest.raises(LedgerUnavailableError, match="did not answer within"):
        verb()
    return time.monotonic() - started


def test_a_hold_that_commits_after_it_was_given_up_is_given_back(
    far: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gives it back waits for the transaction that is under way."""
    later: list[Any] = []
    monkeypatch.setattr(background_worker, "retry", later.append)
    give(far, GLOBAL, usd(1000))
    where = route(far, GLOBAL)
    far.hold(far.new_id(), where, cost(0), AT)
    save = far._rows._save

    def park(*args: Any) -> Any:
        del far._rows._save
        proxy.parking = True  # what writes and commits
        return save(*args)

    far._rows._save = park
    with pytest.raises(LedgerUnavailableError, match="did not answer within"):
        far.hold(far.new_id(), where, cost(60), AT, timeout=0.3)
    proxy.parking = False
    [give_back] = later
    giving_back = threading.Thread(target=give_back)
    giving_back.start()
    while giving_back.is_alive() and not blocked():
        pass
    proxy.deliver()
    giving_back.join()
    assert held(far) == 0
    check(far)


def blocked() -> bool:
    """Whether somebody waits for a lock in the server."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(postgres_url(), autocommit=True) as connection:
        [found] = connection.execute(waiting).fetchall()
    return bool(found[0])


def test_connecting_is_given_up_at_the_same_deadline(far: Any, proxy: Proxy) -> None:
    give(far, GLOBAL, usd(1000))
    where = route(far, GLOBAL)
    proxy.stalled = True
    proxy.hang_up()
    assert given_up(lambda: far.hold(far.new_id(), where, cost(60), AT, timeout=0.3)) < 1.5
    proxy.stalled = False
    proxy.hang_up()
    background_worker.drain()


def test_so_is_a_connection_of_an_engine_of_ones_own(proxy: Proxy, through: str) -> None:
    engine = sa.create_engine(through)
    ledger = SQLLedger(engine, project())
    give(ledger, GLOBAL, usd(1000))
    where = route(ledger, GLOBAL)
    ledger.hold(ledger.new_id(), where, cost(0), AT)
    proxy.stalled = True
    assert given_up(lambda: ledger.hold(ledger.new_id(), where, cost(60), AT, timeout=0.3)) < 1.5
    proxy.stalled = False
    proxy.hang_up()
    background_worker.drain()
    assert held(ledger) == 0
    with engine.connect() as mine:  # which has no deadline of ours
        assert "wait" not in vars(mine.connection.driver_connection)
    ledger.close()
    engine.dispose()


def test_so_is_a_connection_that_others_have(far: Any, proxy: Proxy) -> None:
    give(far, GLOBAL, usd(1000))
    proxy.stalled = True
    proxy.hang_up()
    far.deadline = 0.4
    with ThreadPoolExecutor(20) as threads:
        waited = list(threads.map(lambda _: given_up(lambda: far.read(GLOBAL)), range(20)))
    assert max(waited) < 2
    proxy.stalled = False
    proxy.hang_up()
    assert far.read(GLOBAL).held == 0


def test_connections_are_given_in_the_order_of_asking() -> None:
    places, served = ConnectionSlots(1), []
    places.take(time.monotonic())

    def take(number: int) -> None:
        places.take(time.monotonic() + 20)
        served.append(number)
        places.give_back()

    waiting = []
    for number in range(5):
        waiting.append(threading.Thread(target=take, args=(number,)))
        waiting[-1].start()
        while len(places._waiting) <= number:
            pass
    with pytest.raises(TimeoutError):
        places.take(time.monotonic())
    places.give_back()
    places.take(time.monotonic() + 20)  # who comes back at once is behind them
    assert served == [0, 1, 2, 3, 4]
    for thread in waiting:
        thread.join()


def test_calls_are_refused_where_the_tables_were_emptied_meanwhile(url: str, prefix: str) -> None:
    database = sa.make_url(url).set(drivername="sqlite" if "sqlite" in url else "postgresql+psycopg")
    ledger = database.update_query_dict({"table_prefix": prefix}).render_as_string(hide_password=False)
    with BudgetManager("p", ledger=ledger, max_budget="$1/day") as manager:
        with manager.hold(cost=0.1, user="alice") as call:
            call.settle(cost=0.1)
        engine = sa.create_engine(database)
        with engine.begin() as connection:
            for table in ("projects", "accounts", "holds", "reports", "owners"):
                connection.execute(sa.text(f"DELETE FROM {prefix}{table}"))  # noqa: S608 - a name of ours
        engine.dispose()
        for _ in range(2):
            with pytest.raises(LedgerCorruptError, match=r"the balances at .* are gone: its tables were emptied"):
                manager.hold(cost=0.1, user="alice").__enter__()


def test_who_is_interrupted_while_waiting_for_a_connection_takes_none_with_him() -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    places = ConnectionSlots(1)
    places.take(time.monotonic())
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Interrupted):
            places.take(time.monotonic() + 20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    places.give_back()
    places.take(time.monotonic())


@pytest.mark.slow
def test_a_lease_and_a_hold_have_one_deadline(far: Any, proxy: Proxy) -> None:
    """What is enough for a hold alone is not for both."""
    give(far, GLOBAL, usd(1000))
    where = route(far, GLOBAL)
    hold(far, 0, GLOBAL)
    proxy.delay = 0.2
    alone = []
    for _ in range(3):
        started = time.monotonic()
        far.hold(far.new_id(), where, cost(0), AT)
        alone.append(time.monotonic() - started)
    far._lease_due = 0.0
    given_up(lambda: far.hold(far.new_id(), where, cost(60), AT, timeout=min(alone) + 0.02))
    proxy.delay = 0
    background_worker.drain()
    assert held(far) == 0


def test_a_network_is_never_used_without_waiting(far: Any) -> None:
    give(far, GLOBAL, usd(1000))
    with pytest.raises(LedgerLockedError, match="takes time"):
        far.hold(far.new_id(), route(far, GLOBAL), cost(60), AT, timeout=0)
    assert not far.idle()


def test_what_was_let_through_while_the_server_was_away_is_booked_when_it_is_back(
    proxy: Proxy, through: str, caplog: pytest.LogCaptureFixture
) -> None:
    with BudgetManager(project(), max_budget=5, ledger=through, on_ledger_error="allow") as manager:
        with manager.hold(cost=1, user="alice") as call:
            call.settle(cost=1)
        proxy.refuse()
        with manager.hold(cost=3, user="alice") as planned, manager.hold(cost=2, user="bob") as unplanned:
            planned.settle(cost=2.5)
            unplanned.settle(cost=2)
        assert "the ledger is away and a call goes through unchecked" in caplog.text
        with pytest.raises(LedgerUnavailableError):
            manager.flush()
        proxy.accept()
        manager.flush()
        assert (manager.balance().spent, manager.balance("alice").spent, manager.balance("bob").spent) == (5.5, 3.5, 2)
        with pytest.raises(BudgetExceededError):
            manager.hold(cost=1).__enter__()
        check(manager.ledger)


def test_a_call_under_way_when_the_server_goes_away_is_settled_when_it_is_back(proxy: Proxy, through: str) -> None:
    with BudgetManager(project(), max_budget=5, ledger=through) as manager:
        with manager.hold(cost=3, user="alice") as call:
            proxy.refuse()
            call.settle(cost=2.5)
        with pytest.raises(LedgerUnavailableError):
            manager.hold(cost=1).__enter__()
        proxy.accept()
        manager.flush()
        assert (manager.balance().spent, manager.balance().held) == (2.5, 0)


@pytest.mark.slow
def test_an_event_loop_is_never_blocked_by_a_slow_server(proxy: Proxy, through: str) -> None:
    with BudgetManager(project(), max_budget=100, ledger=through) as manager:
        lags = []
        with manager.hold(cost=1, user="alice") as first:
            first.settle(cost=0.5)

        async def call() -> None:
            async with manager.hold(cost=1, user="alice") as held:
                held.settle(cost=0.5)

        async def measure() -> None:
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                lags.append(time.monotonic() - before - 0.01)

        async def main() -> None:
            measuring = asyncio.create_task(measure())
            await asyncio.sleep(0.05)
            await asyncio.gather(*(call() for _ in range(3)))
            measuring.cancel()

        proxy.delay = 0.3
        started = time.monotonic()
        asyncio.run(main())
        took = time.monotonic() - started
        proxy.delay = 0
        assert took > 1.2
        assert max(lags) < 0.25, f"the loop stood still for {max(lags):.3f} seconds"
        assert manager.balance().spent == 2


# -- holds that nobody ends


@pytest.fixture
def swept(url: str) -> Iterator[tuple[Any, Any, Any]]:
    """Two ledgers, and a hold of the second, which has lost its lease."""
    place = url, project()
    here, there = opened(*place), opened(*place)
    here._beat_due = there._beat_due = math.inf  # the tests sweep, and nothing in the background does before them
    give(here, GLOBAL, usd(1000))
    one = there.hold(there.new_id(), route(there, GLOBAL), cost(60, uncertain=1), AT)
    there.renew(there.owner, 0)
    yield here, there, one
    check(here)
    here.close()
    there.close()


def between(ledger: Any, step: Any) -> None:
    """Have something happen after the next sweep has listed holds, and before it charges them."""
    find = ledger._find

    def found(*args: Any, **given: Any) -> Any:
        del ledger._find
        rows = find(*args, **given)
        step()
        return rows

    ledger._find = found


def test_a_hold_that_is_ended_while_others_sweep_is_not_charged_a_guess(swept: Any) -> None:
    here, there, one = swept
    between(here, lambda: there.release(one.id, AT))
    assert here.sweep() == 0
    assert (spent(here), held(here), here.uncertain()) == (0, 0, [])


def test_nor_is_one_whose_owner_has_come_back(swept: Any) -> None:
    here, there, one = swept
    between(here, lambda: there.renew(there.owner, 60))
    assert here.sweep() == 0
    assert (spent(here), held(here)) == (0, 60)
    there.renew(there.owner, 0)
    assert here.sweep() == 1
    assert [charge.id for charge in here.uncertain()] == [one.id]


# -- processes that stop or die in the middle

STOPS = """
    import os, signal, sys
    from ledgers import *
    ledger = open_ledger(sys.argv[1], sys.argv[2], fsync="background")
    where = route(ledger, GLOBAL)
    one = ledger.hold(ledger.new_id(), where, cost(10), AT)
    save = ledger._rows._save
    def stop(*args):
        ledger._rows._save = save
        print("stopping", flush=True)
        os.kill(os.getpid(), signal.{signal})
        return save(*args)
    ledger._rows._save = stop
    ledger.settle(one.id, Used(9), AT)
    print(spent(ledger), flush=True)
    ledger.close()
"""


@pytest.mark.slow
def test_a_process_that_is_stopped_in_a_transaction_loses_it_and_repeats_it_when_it_goes_on() -> None:
    place = postgres_url(), project()
    ledger = opened(*place)
    give(ledger, GLOBAL, usd(1000))
    process = python(STOPS.format(signal="SIGSTOP"), *place)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    charge(ledger, 100, GLOBAL)
    os.kill(process.pid, signal.SIGCONT)
    assert finish(process) == ["109\n"]
    assert (spent(ledger), held(ledger)) == (109, 0)
    check(ledger)
    ledger.close()


def test_a_process_that_is_killed_in_a_transaction_leaves_nothing_of_it(url: str) -> None:
    place = url, project()
    ledger = opened(*place)
    give(ledger, GLOBAL, usd(1000))
    process = python(STOPS.format(signal="SIGKILL"), *place)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    kill(process)
    charge(ledger, 100, GLOBAL)
    assert (spent(ledger), held(ledger)) == (100, 10)
    check(ledger)
    ledger.close()


@pytest.mark.slow
def test_a_stopped_process_that_has_the_file_of_sqlite_is_told_of(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path}/ledger.db", project()
    ledger = opened(*place)
    give(ledger, GLOBAL, usd(1000))
    process = python(STOPS.format(signal="SIGSTOP"), *place)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    with pytest.raises(LedgerLockedError, match=r"busy with calls of other processes for 0\.2 seconds"):
        ledger.hold(ledger.new_id(), route(ledger, GLOBAL), cost(1), AT, timeout=0.2)
    assert ledger.read(ALICE) is None
    os.kill(process.pid, signal.SIGCONT)
    finish(process)
    assert (spent(ledger), held(ledger)) == (9, 0)
    ledger.close()
