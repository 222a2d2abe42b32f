"""What only a Redis can do to its ledger: forget, evict, restart, lose replies, and serve processes that die."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis_server
from click.testing import CliRunner
from ledgers import ALICE, AT, charge, check, cost, give, held, hold, kill, python, route, spent, usd
from proxy import Proxy

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted as budgeted_command
from budgeted.errors import LedgerCorruptError, LedgerError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.memory import ended_holds
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.redis.ledger import RedisLedger
from budgeted.ledger.spending_records import Used


@pytest.fixture
def server() -> redis_server.RedisServer:
    """The server that all tests of this process share."""
    return redis_server.shared()


@pytest.fixture
def project() -> str:
    return redis_server.new_project()


@pytest.fixture
def ledger(server: redis_server.RedisServer, project: str) -> Iterator[RedisLedger]:
    made = RedisLedger(server.url, project)
    yield made
    made.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[redis_server.RedisServer]:
    """One that a test may kill; what it acknowledged is on the disk."""
    with redis_server.RedisServer("--appendonly", "yes", "--appendfsync", "always", folder=tmp_path) as made:
        yield made


def wait_until(true: Any) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


# -- opening


def test_a_url_and_a_client_open_the_same_ledger_once(server: redis_server.RedisServer, project: str) -> None:
    one = open_ledger(server.url, project, fsync="background")
    assert open_ledger(server.url, project, fsync="background") is one
    give(one, ALICE, usd(100))
    with server.client(decode_responses=True) as client:
        other = open_ledger(client, project, fsync="background")
        charge(other, 5, ALICE)
        assert spent(one, ALICE) == 5
        other.close()
        assert client.ping()  # a client of one's own is left open
    one.close()


def test_neither_errors_nor_reprs_show_a_password(own_server: redis_server.RedisServer, project: str) -> None:
    with own_server.client() as client:
        client.config_set("requirepass", "s3cret")
    url = f"redis://:s3cret@127.0.0.1:{own_server.port}/0"
    ledger = RedisLedger(url, project)
    assert repr(ledger) == f"RedisLedger('127.0.0.1:{own_server.port}')"
    give(ledger, ALICE)
    own_server.kill()
    for wrong in (
        lambda: ledger.read(ALICE),
        lambda: RedisLedger(url, project),
        lambda: RedisLedger("redis://:s3cret@host:s3cret/0", project),
        lambda: RedisLedger(f"redis://:s3cret@127.0.0.1:{own_server.port}?socket_timeout=s3cret", project),
        lambda: RedisLedger(f"redis://:s3cret@127.0.0.1:{own_server.port}?unknown=1", project),
    ):
        with pytest.raises(LedgerError) as raised:
            wrong()
        error: BaseException | None = raised.value
        while error is not None:
            assert "s3cret" not in str(error)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    ledger.close()


def test_a_server_that_may_evict_keys_is_refused(own_server: redis_server.RedisServer, project: str) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(LedgerError, match=r"may evict keys.*allkeys-lru.*set maxmemory-policy to noeviction"):
            RedisLedger(own_server.url, project)
        client.config_set("maxmemory-policy", "noeviction")
    RedisLedger(own_server.url, project).close()


def test_a_server_that_does_not_tell_its_policy_is_warned_of_once(
    own_server: redis_server.RedisServer, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server.client() as client:
        client.acl_setuser(
            "guest", enabled=True, nopass=True, keys=["budgeted:*"], categories=["+@all"], commands=["-info"]
        )
    for number in range(2):
        RedisLedger(f"redis://guest:any@127.0.0.1:{own_server.port}/0", f"{project}-{number}").close()
    assert [record.message for record in caplog.records if "maxmemory-policy" in record.message] == [
        f"budgeted: the Redis at 127.0.0.1:{own_server.port} does not tell its maxmemory-policy; see to it that it is noeviction, or budgets may be evicted"  # noqa: E501
    ]


def test_an_asynchronous_client_is_refused(project: str) -> None:
    from redis.asyncio import Redis

    with pytest.raises(LedgerError, match=r"takes a redis\.Redis, not one of redis\.asyncio"):
        open_ledger(Redis(), project, fsync="background")


def test_a_full_server_refuses_and_changes_nothing(own_server: redis_server.RedisServer, project: str) -> None:
    ledger = RedisLedger(own_server.url, project)
    give(ledger, ALICE, usd(100))
    one = hold(ledger, 10, ALICE)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        for verb in (lambda: ledger.settle(one.id, Used(5), AT), lambda: hold(ledger, 1, ALICE)):
            with pytest.raises(LedgerUnavailableError, match=r"not available: .*maxmemory"):
                verb()
        client.config_set("maxmemory", 0)
    background_worker.drain()
    assert (held(ledger, ALICE), spent(ledger, ALICE)) == (10, 0)
    check(ledger)
    ledger.settle(one.id, Used(5), AT)
    check(ledger)
    ledger.close()


# -- keys


@pytest.mark.parametrize("hostile", ["}{", "{a}", "a:b*?[x]", "budgeted:{shop}:accounts", '"', "a\nb", "\\", "\0"])
def test_names_stay_inside_their_own_field(server: redis_server.RedisServer, hostile: str) -> None:
    project = redis_server.new_project() + hostile
    ledger = RedisLedger(server.url, project)
    with server.client() as client:
        before = set(client.scan_iter(count=10_000))
        for user in (ALICE, "u:" + hostile):
            give(ledger, user, usd(100))
            charge(ledger, 5, user, model=hostile)
        hold(ledger, 5, "u:" + hostile)
        new = set(client.scan_iter(count=10_000)) - before
    prefix = ledger._key
    assert prefix.count(b"{") == prefix.count(b"}") == 1
    assert all(key.startswith(prefix + b":") or b":once:" in key for key in new)
    assert not [key for key in new if b"alice" in key or b"u:" in key]
    assert [(a.id, a.usd, a.held) for a in ledger.accounts("u:")] == sorted([(ALICE, 5, 0), ("u:" + hostile, 5, 5)])
    check(ledger)
    ledger.close()


@pytest.fixture
def nodes() -> Iterator[list[redis_server.RedisServer]]:
    """Three servers that are one cluster."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(redis_server.RedisServer("--cluster-enabled", "yes")) for _ in range(3)]
        clients = [stack.enter_context(one.client()) for one in made]
        for i, client in enumerate(clients):
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384 * i // 3, 16384 * (i + 1) // 3))
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", made[0].port)
        for client in clients:
            wait_until(lambda client=client: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        yield made


def test_a_cluster_serves_projects_from_all_its_nodes(nodes: list[redis_server.RedisServer]) -> None:
    with redis.RedisCluster.from_url(nodes[0].url) as cluster:
        found = set()
        while len(found) < len(nodes):
            ledger = RedisLedger(cluster, redis_server.new_project())
            assert repr(ledger) in {f"RedisLedger('127.0.0.1:{node.port}')" for node in nodes}
            give(ledger, GLOBAL, usd(100))
            give(ledger, ALICE, usd(100))
            charge(ledger, 5, GLOBAL, ALICE)
            ledger.release(hold(ledger, 7, GLOBAL, ALICE).id, AT)
            hold(ledger, 9, GLOBAL, ALICE)
            assert (spent(ledger, ALICE), held(ledger)) == (5, 9)
            assert ledger.sweep() == 0
            check(ledger)
            found.add(cluster.get_node_from_key(ledger._key.decode()).port)
            ledger.close()
        cluster.disconnect_connection_pools()  # closing it leaves them to the collector


# -- a server that forgets


def test_scripts_that_the_server_forgot_are_sent_again(server: redis_server.RedisServer, ledger: RedisLedger) -> None:
    give(ledger, ALICE, usd(100))
    where = route(ledger, ALICE)
    with server.client() as client:
        client.script_flush()
        one = ledger.hold("x.1", where, cost(5), AT)
        client.script_flush()
        ledger.settle("x.1", Used(4), AT)
    assert (getattr(one, "usd", None), spent(ledger, ALICE)) == (5, 4)


def test_a_server_that_lost_the_balances_refuses_until_the_program_starts_again(
    own_server: redis_server.RedisServer, project: str
) -> None:
    """A limit that was lost must not turn into no limit."""
    ledger = RedisLedger(own_server.url, project)
    give(ledger, GLOBAL, usd(100))
    where = route(ledger, GLOBAL)
    one = hold(ledger, 5, GLOBAL)
    with own_server.client() as client:
        client.flushall()
    for verb in (
        lambda: ledger.hold("x.1", where, cost(5), AT),
        lambda: ledger.post("x.2", where, Used(5), AT),
        lambda: ledger.read(GLOBAL),
        lambda: give(ledger, GLOBAL),
        lambda: ledger.settle(one.id, Used(5), AT),
    ):
        with pytest.raises(LedgerCorruptError, match="are gone: the server was emptied"):
            verb()
    ledger.close()
    again = RedisLedger(own_server.url, project)
    assert again.read(GLOBAL) is None
    again.close()


@pytest.mark.slow
def test_a_redis_that_is_killed_comes_back_with_everything_it_acknowledged(
    own_server: redis_server.RedisServer, project: str
) -> None:
    ledger = RedisLedger(own_server.url, project)
    give(ledger, GLOBAL, usd(10**9))
    give(ledger, ALICE, usd(10**9))
    where = route(ledger, GLOBAL, ALICE)
    acknowledged, refused, stop = [], [], threading.Event()

    def work() -> None:
        while not stop.is_set():
            id = ledger.new_id()
            try:
                ledger.hold(id, where, cost(10), AT)
                ledger.settle(id, Used(7), AT)
            except LedgerUnavailableError as error:
                refused.append(str(error))
                background_worker.retry(lambda id=id: ledger.settle(id, Used(7), AT))  # type: ignore[misc]
            acknowledged.append(id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(acknowledged)
        while len(acknowledged) < before + 50:
            time.sleep(0.01)
        own_server.kill()
        while not refused:
            time.sleep(0.01)
        own_server.start()
    stop.set()
    for thread in threads:
        thread.join()
    while background_worker.refused():
        background_worker.drain()
    assert all(f"127.0.0.1:{own_server.port}" in text for text in refused)
    check(ledger)
    assert held(ledger) == held(ledger, ALICE) == 0
    charged = {id for id in acknowledged if (one := ledger.ended(id)) is not None and one.used.usd}
    assert spent(ledger) == spent(ledger, ALICE) == 7 * len(charged)
    assert len(acknowledged) - len(charged) <= len(refused)
    ledger.close()


# -- replies that are cut off or late


@pytest.mark.slow
def test_no_reply_that_is_cut_off_has_a_verb_done_twice(server: redis_server.RedisServer, project: str) -> None:
    chance = random.Random(1)
    direct = RedisLedger(server.url, project)
    with Proxy(("127.0.0.1", server.port)) as proxy:
        ledger = RedisLedger(f"redis://127.0.0.1:{proxy.port}/0", project)
        give(ledger, GLOBAL, usd(10**6))
        give(ledger, ALICE, usd(10**6))
        expected = unanswered = 0
        for number in range(90):
            used = chance.randrange(1, 50)
            proxy.spare, proxy.cut = chance.randrange(3), chance.randrange(6)
            if number % 3:
                id, tries = insist(lambda: hold(ledger, 50, GLOBAL, ALICE).id)
                unanswered += tries + insist(lambda id=id, used=used: ledger.settle(id, Used(used, 1, 1), AT))[1]
            else:
                id, where = ledger.new_id(), insist(lambda: route(ledger, GLOBAL, ALICE))[0]
                post = lambda id=id, where=where, used=used: ledger.post(id, where, Used(used, 1, 1), AT)  # noqa: E731
                unanswered += insist(post)[1]
            if number % 5 == 0:
                used = 3
                unanswered += insist(lambda id=id: ledger.correct(id, Used(3, 1, 1), AT))[1]
            expected += used
            assert spent(direct) == expected
        proxy.spare = proxy.cut = 0
        background_worker.drain()
        account = ledger.read(ALICE)
        assert account is not None
        assert (account.calls, spent(ledger), spent(ledger, ALICE), held(ledger)) == (90, expected, expected, 0)
        check(ledger)
        assert unanswered
        ledger.close()
    direct.close()


def insist(verb: Any) -> tuple[Any, int]:
    """What a verb returns in the end, and how often it went without an answer before."""
    for tries in itertools.count():
        try:
            return verb(), tries
        except LedgerUnavailableError:
            pass
    raise AssertionError


def test_a_reset_that_is_sent_again_happens_once(ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was charged between the two tries stays; as for every verb that has no hold's id."""
    give(ledger, ALICE, usd(100))
    charge(ledger, 10, ALICE)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "new_id", lambda: "the same request")
        ledger.reset(ALICE, AT)
    charge(ledger, 3, ALICE)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "new_id", lambda: "the same request")
        ledger.reset(ALICE, AT)
    assert spent(ledger, ALICE) == 3
    ledger.reset(ALICE, AT)
    assert spent(ledger, ALICE) == 0


def test_a_hold_whose_answer_never_came_is_given_back(
    server: redis_server.RedisServer, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[Any] = []
    monkeypatch.setattr(background_worker, "retry", later.append)  # not before it was seen
    with Proxy(("127.0.0.1", server.port)) as proxy:
        ledger = RedisLedger(f"redis://127.0.0.1:{proxy.port}/0", project)
        give(ledger, ALICE, usd(100))
        where = route(ledger, ALICE)
        ledger.release(hold(ledger, 1, ALICE).id, AT)  # the server knows the script from now on
        proxy.cut = 10**6
        with pytest.raises(LedgerUnavailableError, match=f"127.0.0.1:{proxy.port}"):
            ledger.hold("x.1", where, cost(60), AT)
        direct = RedisLedger(server.url, project)
        assert held(direct, ALICE) == 60
        proxy.cut = 0
        for give_back in later:
            give_back()
        assert held(direct, ALICE) == 0
        check(direct)
        direct.close()
        ledger.close()


def test_a_hold_that_another_thread_fails_to_give_back_is_given_back_all_the_same(
    ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a program flushes while the background is at it: else nobody would try it again."""
    later: list[Any] = []
    monkeypatch.setattr(background_worker, "retry", later.append)
    given_back: list[str] = []
    ledger._doubt("x.1", AT, LedgerUnavailableError("no answer"))
    [give_back] = later
    flushing = threading.Thread(target=give_back)

    def release(id: str, at: int) -> bool:
        if threading.current_thread() is flushing:
            given_back.append(id)
            return True
        flushing.start()
        flushing.join(0.1)  # it must not come to its end before this one has
        raise LedgerUnavailableError("no answer again")

    monkeypatch.setattr(ledger, "release", release)
    with pytest.raises(LedgerUnavailableError):
        give_back()
    flushing.join()
    assert given_back == ["x.1"]


def test_a_hold_that_comes_after_it_was_given_back_is_not_opened(
    server: redis_server.RedisServer, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later: list[Any] = []
    monkeypatch.setattr(background_worker, "retry", later.append)
    direct = RedisLedger(server.url, project)
    with Proxy(("127.0.0.1", server.port)) as proxy, server.client() as client:
        ledger = RedisLedger(f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.1", project)
        give(ledger, ALICE, usd(100))
        where = route(ledger, ALICE)
        ledger.release(hold(ledger, 1, ALICE).id, AT)  # the server knows the script from now on
        proxy.parking = True
        with pytest.raises(LedgerUnavailableError):
            ledger.hold("x.1", where, cost(60), AT)
        assert not direct.release("x.1", AT)
        before, parked = evaluated(client), len(proxy.parked)
        assert parked
        proxy.deliver()
        wait_until(lambda: evaluated(client) >= before + parked)
        for give_back in later:
            give_back()
        assert held(direct, ALICE) == 0
        assert direct.ended("x.1") is None
        assert not direct.settle("x.1", Used(5), AT)
        ledger.close()
    with pytest.raises(LedgerError, match="has ended"):
        direct.hold("x.1", where, cost(60), AT)
    check(direct)
    direct.close()


def evaluated(client: redis.Redis) -> int:
    """How many scripts the server has run."""
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


@pytest.mark.slow
def test_coroutines_do_not_block_the_loop_while_replies_are_late(
    server: redis_server.RedisServer, project: str
) -> None:
    with Proxy(("127.0.0.1", server.port)) as proxy:
        manager = BudgetManager(project, max_budget=10, ledger=f"redis://127.0.0.1:{proxy.port}/0")

        @manager.budgeted("alice")
        async def complete(model: str, messages: Any, max_tokens: int = 100) -> Any:
            return {"model": model, "usage": {"prompt_tokens": 10, "completion_tokens": 10}}

        async def run() -> float:
            worst, running = 0.0, True

            async def tick() -> None:
                nonlocal worst
                while running:
                    started = time.perf_counter()
                    await asyncio.sleep(0.005)
                    worst = max(worst, time.perf_counter() - started - 0.005)

            ticking = asyncio.create_task(tick())
            await complete("gpt-4o-mini", [])
            proxy.delay = 0.5
            worst = 0.0
            await asyncio.gather(*(complete("gpt-4o-mini", []) for _ in range(8)))
            proxy.delay = 0.0
            running = False
            await ticking
            return worst

        lag = asyncio.run(run())
        assert lag < 0.4
        assert manager.report()["alice"].calls == 9
        manager.close()


# -- processes that stop, or take their time

WORKER = """
    import sys
    from ledgers import *
    from budgeted.ledger.redis.ledger import RedisLedger
    ledger = RedisLedger(sys.argv[1], sys.argv[2])
    ledger.lease = float(sys.argv[3])
    for _ in range(5):
        one = hold(ledger, 10, GLOBAL, ALICE)
    print(one.id, flush=True)
    sys.stdin.readline()
    ledger.settle(one.id, Used(9), AT)
    print(ledger.ended(one.id).reason or "settled", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_process_that_stops_for_longer_than_its_lease_is_charged_and_then_settles_the_truth(
    server: redis_server.RedisServer, project: str
) -> None:
    ledger = RedisLedger(server.url, project)
    give(ledger, GLOBAL, usd(1000))
    give(ledger, ALICE, usd(1000))
    worker = python(WORKER, server.url, project, 1)
    assert worker.stdout is not None
    assert worker.stdin is not None
    id = worker.stdout.readline().strip()
    worker.send_signal(signal.SIGSTOP)
    wait_until(lambda: ledger.sweep() and held(ledger) == 0)
    assert (spent(ledger), len(ledger.uncertain())) == (50, 5)
    worker.send_signal(signal.SIGCONT)
    worker.stdin.write("\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "settled\n"
    charge = ledger.ended(id)
    assert charge is not None
    assert (charge.used, charge.reason) == (Used(9), "")
    assert (spent(ledger), held(ledger), len(ledger.uncertain())) == (49, 0, 4)
    check(ledger)
    kill(worker)
    ledger.close()


def test_holds_of_a_process_that_lives_are_its_own_to_time_out(server: redis_server.RedisServer, project: str) -> None:
    """Whoever allows its calls little time does not charge the long ones of others."""
    patient, hasty = RedisLedger(server.url, project), RedisLedger(server.url, project)
    give(patient, ALICE, usd(100))
    hold(patient, 5, ALICE)
    hold(hasty, 6, ALICE)
    hasty.clock = lambda: AT + 100.0
    hasty.hold_timeout = 10
    assert hasty.sweep() == 1
    assert (held(patient, ALICE), spent(patient, ALICE)) == (5, 6)
    patient.close()
    hasty.close()


def test_moving_a_project_shows_no_password(tmp_path: Path) -> None:
    server = redis_server.shared()
    with BudgetManager("app", ledger=tmp_path, max_budget=1):
        pass
    url = server.url.replace("//", "//default:s3cret@")
    arguments = ["migrate", str(tmp_path), url, "--project", "app", "--to-project", redis_server.new_project()]
    moved = CliRunner().invoke(budgeted_command, arguments, catch_exceptions=False)
    assert f"app is now in 127.0.0.1:{server.port} as test-" in moved.output
    assert "s3cret" not in moved.output


# -- ids that are forgotten


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> int:
    """Holds after which one that has ended is forgotten."""
    monkeypatch.setattr(ended_holds, "REMEMBERED", 5)
    return 11


def test_the_answer_of_a_hold_that_was_dropped_and_forgotten_is_posted_once(
    ledger: RedisLedger, forgetful: int
) -> None:
    give(ledger, ALICE, usd(1000))
    where = route(ledger, ALICE)
    ledger.hold("x.1", where, cost(60, uncertain=-1), AT)
    ledger._clients.add("x")
    ledger.clock = lambda: AT + 10.0**6
    assert ledger.sweep() == 1
    for _ in range(forgetful):
        charge(ledger, 1, ALICE)
    assert not ledger.settle("x.1", Used(40), AT)
    for number in range(3):
        assert ledger.post("x.1", where, Used(40), AT) is True
        for _ in range(forgetful * number):
            charge(ledger, 1, ALICE)
    assert spent(ledger, ALICE) == 40 + 4 * forgetful
    check(ledger)


def test_a_settlement_that_is_repeated_when_its_id_is_forgotten_is_not_charged_twice(
    server: redis_server.RedisServer, project: str, forgetful: int
) -> None:
    direct = RedisLedger(server.url, project)
    give(direct, ALICE, usd(1000))
    with Proxy(("127.0.0.1", server.port)) as proxy:
        ledger = RedisLedger(f"redis://127.0.0.1:{proxy.port}/0", project)
        ledger._watched = True
        charge(ledger, 1, ALICE)  # the server knows the scripts from now on
        id = hold(ledger, 60, ALICE).id
        proxy.cut = 2
        with pytest.raises(LedgerUnavailableError):
            ledger.settle(id, Used(40), AT)
        for _ in range(forgetful):
            charge(direct, 1, ALICE)
        assert direct.ended(id) is None
        assert ledger.settle(id, Used(40), AT)
        assert not ledger.settle(direct.new_id(), Used(40), AT)
        assert spent(direct, ALICE) == 41 + forgetful
        ledger.close()
    direct.close()


@pytest.mark.parametrize("id", ["x.7", "x.4096", "x.123456789012345678", "x.07", "x.a.b"])
def test_a_posted_charge_is_known_by_its_id_when_others_have_pushed_it_out(
    ledger: RedisLedger, forgetful: int, id: str
) -> None:
    give(ledger, ALICE, usd(1000))
    where = route(ledger, ALICE)
    ledger.post(id, where, Used(5), AT)
    for _ in range(forgetful):
        charge(ledger, 1, ALICE)
    assert ledger.ended(id) is None
    ledger.post(id, where, Used(5), AT)
    assert spent(ledger, ALICE) == 5 + forgetful
    ledger.post(f"{id}0", where, Used(5), AT)
    assert spent(ledger, ALICE) == 10 + forgetful
