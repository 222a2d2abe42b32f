"""A Redis that comes back with older data, or with none: what it had acknowledged is posted again, once, or refused."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis_server
from ledgers import ALICE, AT, BOB, NEVER, charge, check, cost, give, held, hold, route, spent, usd

from budgeted import BudgetExceededError, BudgetManager
from budgeted.errors import LedgerCorruptError
from budgeted.ledger.accounts import GLOBAL, OUTPUT_TOKENS, USD, Amendment, LimitSpec
from budgeted.ledger.acknowledged_verbs import AcknowledgedVerbs
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import STALE, Leg, Route
from budgeted.ledger.memory.change_records import HeldInParts
from budgeted.ledger.redis.ledger import RedisLedger
from budgeted.ledger.spending_records import Used


@pytest.fixture
def server() -> redis_server.RedisServer:
    """The server that all tests of this process share."""
    return redis_server.shared()


@pytest.fixture
def project() -> str:
    return redis_server.new_project()


class Copies:
    """A project's data on a server, as it was at some time."""

    def __init__(self, server: redis_server.RedisServer, project: str) -> None:
        self._client = server.client()
        self._pattern = f"budgeted:{{{project}}}:*"

    def take(self) -> dict[bytes, tuple[bytes, int]]:
        """A copy of it."""
        client = self._client
        return {key: (client.dump(key), max(0, client.pttl(key))) for key in client.scan_iter(self._pattern)}

    def put(self, copy: dict[bytes, tuple[bytes, int]]) -> None:
        """Have that and nothing else: what a server has that was restored, or took over without the latest writes."""
        with self._client.pipeline() as pipeline:
            for key in list(self._client.scan_iter(self._pattern)):
                pipeline.delete(key)
            for key, (data, left) in copy.items():
                pipeline.restore(key, left, data)
            pipeline.execute()


@pytest.fixture
def copies(server: redis_server.RedisServer, project: str) -> Copies:
    return Copies(server, project)


@pytest.fixture
def ledger(server: redis_server.RedisServer, project: str) -> Iterator[RedisLedger]:
    made = RedisLedger(server.url, project)
    made._watched = True  # what a test looks at is done by nobody before
    give(made, GLOBAL, usd(1000))
    give(made, ALICE, usd(100))
    yield made
    made.close()


@pytest.fixture
def other(server: redis_server.RedisServer, project: str, ledger: RedisLedger) -> Iterator[RedisLedger]:
    """Another process's."""
    made = RedisLedger(server.url, project)
    made._watched = True
    yield made
    made.close()


def figures(ledger: RedisLedger, name: str = GLOBAL) -> tuple[int, int, int]:
    account = ledger.read(name)
    assert account is not None
    return spent(ledger, name), held(ledger, name), account.calls


# -- older data


def test_what_an_older_state_lacks_is_posted_again_once(
    ledger: RedisLedger, copies: Copies, caplog: pytest.LogCaptureFixture
) -> None:
    charge(ledger, 30, GLOBAL, ALICE)
    settled, released = (hold(ledger, 9, GLOBAL, ALICE).id for _ in range(2))
    older = copies.take()
    charge(ledger, 40, GLOBAL, ALICE)
    ledger.settle(settled, Used(7, 1, 1), AT)
    ledger.release(released, AT)
    ledger.post("x.1", route(ledger, GLOBAL), Used(3), AT)
    flying = hold(ledger, 20, GLOBAL, ALICE).id
    before = [figures(ledger, name) for name in (GLOBAL, ALICE)]
    assert before == [(80, 20, 4), (77, 20, 3)]
    for _ in range(2):
        copies.put(older)
        assert [figures(ledger, name) for name in (GLOBAL, ALICE)] == before
        check(ledger)
    ledger.settle(flying, Used(15), AT)
    assert figures(ledger) == (95, 0, 5)
    check(ledger)
    assert sum(row.usd for row in ledger.rollups() if row.account == GLOBAL) == 95
    [first, _] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "lacks what it has acknowledged: 3 charges of $0.00000005" in first.message
    assert flying in first.message


def test_an_older_state_decides_nothing(ledger: RedisLedger, copies: Copies) -> None:
    where = route(ledger, ALICE)
    older = copies.take()
    ledger.hold("x.1", where, cost(60), AT)
    copies.put(older)
    refused = ledger.hold("x.2", where, cost(60), AT)
    assert isinstance(refused, Refused)
    assert (refused.spent, refused.held) == (0, 60)


def test_what_was_added_to_a_limit_is_not_added_twice_and_what_was_resumed_stays_so(
    ledger: RedisLedger, copies: Copies
) -> None:
    ledger.amend(ALICE, Amendment(belongs_to="u:team", stopped="an audit", raised=("usd", 50, 0, NEVER)))
    older = copies.take()
    ledger.amend(ALICE, Amendment(stopped="", raised=("usd", 7, 0, NEVER)))
    for is_read_before in (False, True):
        if is_read_before:
            ledger.read(ALICE)
        copies.put(older)
        account = ledger.read(ALICE)
        assert account is not None
        assert (account.slots[0].amount, account.belongs_to, account.stopped) == (157, "u:team", "")
    check(ledger)


def test_what_was_set_aside_and_drawn_on_is_so_again(ledger: RedisLedger, copies: Copies) -> None:
    rolling = LimitSpec("rolling", USD, 500, 0, NEVER, -1, 3600, 0, AT)
    kept = LimitSpec("usd/day", USD, 90, AT, AT + 86_400, -1, 0, 50, 86_400)
    give(ledger, GLOBAL, rolling, LimitSpec("out", OUTPUT_TOKENS, 1000, 0, NEVER))
    give(ledger, ALICE, kept)
    charge(ledger, 30, GLOBAL, ALICE)
    older = copies.take()
    names = GLOBAL, ALICE
    tomorrow = (AT + 86_400, AT + 2 * 86_400)
    legs = [Leg(GLOBAL, (("rolling", 0, NEVER), ("out", 0, NEVER))), Leg(ALICE, (("usd/day", *tomorrow),))]
    versions = [account.version for name in names if (account := ledger.read(name)) is not None]
    where = Route.make(legs, versions, 20_000, "p", "m")
    ledger.hold("x.1", where, Ask(usd=100, tokens=60, uncertain_output=-1, within="x.1"), AT)
    for id, amount in (("x.2", 40), ("x.3", 30)):
        ask = Ask(usd=amount, tokens=5, tokens_rate=1, most=20, within="x.1")
        assert isinstance(ledger.hold(id, where, ask, AT), HeldInParts)
    ledger.settle("x.3", Used(10, 5, 9), AT + 1)
    before = ledger.everything()
    assert (held(ledger, ALICE, "usd/day"), held(ledger, limit="out"), spent(ledger, limit="rolling")) == (90, 20, 40)
    copies.put(older)
    ledger.release("x.9", AT)
    again = ledger.everything()
    for found in (before, again):
        found.sort()
    assert again.holds == before.holds
    assert list(again.comparable()) == list(before.comparable())
    check(ledger)


@pytest.mark.parametrize("first", ["renew", "sweep", "read", "uncertain", "ended", "reset", "accounts", "open_holds"])
def test_whatever_is_asked_first_finds_it_out(
    ledger: RedisLedger, copies: Copies, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    older = copies.take()
    charge(ledger, 40, GLOBAL, ALICE)
    copies.put(older)
    asked = {"renew": (ledger.owner, 30), "read": (ALICE,), "ended": ("x.1",), "reset": (BOB, AT)}
    getattr(ledger, first)(*asked.get(first, ()))
    assert "lacks what it has acknowledged" in caplog.text
    assert figures(ledger) == (40, 0, 1)


def test_each_process_posts_what_it_knows_and_no_more(ledger: RedisLedger, other: RedisLedger, copies: Copies) -> None:
    charge(ledger, 1, GLOBAL, ALICE)
    charge(other, 2, GLOBAL, ALICE)
    older = copies.take()
    charge(other, 4, GLOBAL, ALICE)
    charge(ledger, 8, GLOBAL, ALICE)
    flying = hold(other, 16, GLOBAL, ALICE).id
    copies.put(older)
    assert figures(ledger) == (11, 0, 3)
    assert figures(other) == (15, 16, 4)
    other.settle(flying, Used(16), AT)
    assert figures(ledger) == (31, 0, 5)
    check(ledger)


def test_one_that_others_take_for_dead_is_still_counted(
    ledger: RedisLedger, other: RedisLedger, caplog: pytest.LogCaptureFixture
) -> None:
    charge(ledger, 5, GLOBAL)
    other.renew(ledger.owner, 0)
    other.sweep()
    charge(ledger, 5, GLOBAL)
    assert figures(other) == (10, 0, 2)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_processes_that_have_closed_leave_no_count(
    server: redis_server.RedisServer, project: str, ledger: RedisLedger
) -> None:
    for _ in range(3):
        one = RedisLedger(server.url, project)
        charge(one, 5, GLOBAL)
        one.close()
    with server.client() as client:
        counted = [key for key in client.hkeys(f"budgeted:{{{project}}}:accounts") if key.startswith(b":")]
    assert counted == [b":" + ledger.owner.encode()]


def test_a_lost_correction_and_lost_limits_are_made_again(
    ledger: RedisLedger, other: RedisLedger, copies: Copies
) -> None:
    doubtful = hold(ledger, 50, GLOBAL, ALICE).id
    ledger.settle(doubtful, Used(50), AT, "timed out")
    older = copies.take()
    ledger.correct(doubtful, Used(20), AT)
    give(ledger, ALICE, usd(25))
    give(ledger, BOB, usd(5))
    ledger.delete(BOB)
    give(other, GLOBAL, usd(30))
    where = route(ledger, GLOBAL, ALICE)
    copies.put(older)
    assert figures(ledger, ALICE) == (20, 0, 1)
    assert ledger.uncertain() == []
    assert ledger.read(BOB) is None
    for name, limit in ((GLOBAL, 30), (ALICE, 25)):
        account = ledger.read(name)
        assert account is not None
        assert [slot.amount for slot in account.slots] == [limit]
    assert ledger.hold("x.1", where, cost(1), AT) is STALE  # of versions that are given to no others
    assert isinstance(hold(ledger, 6, GLOBAL, ALICE), Refused)


def test_a_period_that_began_with_what_was_lost_begins_again(ledger: RedisLedger, copies: Copies) -> None:
    give(ledger, BOB, usd(100, "usd/hour", start=0, end=3600))
    charge(ledger, 60, BOB)
    older = copies.take()
    charge(ledger, 70, BOB, period=(3600, 7200))
    flying = hold(ledger, 10, BOB, period=(3600, 7200)).id
    copies.put(older)
    account = ledger.read(BOB)
    assert account is not None
    [slot] = account.slots
    assert (slot.start, slot.spent, slot.held, account.usd) == (3600, 70, 10, 130)
    ledger.settle(flying, Used(10), AT)
    check(ledger)


def test_threads_that_meet_it_at_once_post_it_once(ledger: RedisLedger, copies: Copies) -> None:
    where = route(ledger, GLOBAL, ALICE)
    older = copies.take()
    for amount in range(10):
        charge(ledger, amount, GLOBAL, ALICE)
    copies.put(older)
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait()
        id = ledger.new_id()
        ledger.hold(id, where, cost(2), AT)
        ledger.settle(id, Used(1), AT)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert figures(ledger) == (45 + 8, 0, 18)
    check(ledger)


def test_one_that_lacks_more_than_is_remembered_is_refused_until_it_is_repaired(
    server: redis_server.RedisServer, project: str, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = RedisLedger(server.url, project)
    ledger._told = AcknowledgedVerbs(most=4)
    give(ledger, GLOBAL, usd(1000))
    older = copies.take()
    for amount in range(1, 9):
        charge(ledger, amount, GLOBAL)
    copies.put(older)
    for _ in range(2):
        with pytest.raises(LedgerCorruptError, match=r"earlier verbs that this process does not remember.*repair\(\)"):
            hold(ledger, 1, GLOBAL)
    assert ledger.repair()
    assert 7 + 8 <= figures(ledger)[0] <= 36
    assert ledger.repair() == 0
    hold(ledger, 1, GLOBAL)
    ledger.close()


# -- no data at all


def test_an_emptied_server_is_refused_and_told_until_it_is_repaired(
    ledger: RedisLedger, copies: Copies, caplog: pytest.LogCaptureFixture
) -> None:
    charge(ledger, 70, GLOBAL, ALICE)
    flying = hold(ledger, 20, GLOBAL, ALICE).id
    where = route(ledger, GLOBAL, ALICE)
    copies.put({})
    for verb in (
        lambda: ledger.hold("x.1", where, cost(5), AT),
        lambda: ledger.post("x.2", where, Used(5), AT),
        lambda: ledger.settle(flying, Used(15), AT),
        lambda: ledger.release(flying, AT),
        lambda: ledger.read(GLOBAL),
        lambda: give(ledger, GLOBAL),
        lambda: ledger.renew(ledger.owner, 30),
        ledger.sweep,
    ):
        with pytest.raises(
            LedgerCorruptError, match=rf"are gone.*1 charge of \$0.00000007 .*hold.*{flying}.*repair\(\)"
        ):
            verb()
    assert copies.take() == {}
    assert ledger.repair() > 0
    assert figures(ledger) == (70, 20, 1)
    assert ledger.settle(flying, Used(15), AT)
    assert figures(ledger, ALICE) == (85, 0, 2)
    assert isinstance(hold(ledger, 16, ALICE), Refused)
    assert ledger.repair() == 0
    check(ledger)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_repair_by_one_process_lets_the_others_post_what_they_know(
    ledger: RedisLedger, other: RedisLedger, copies: Copies
) -> None:
    charge(ledger, 1, GLOBAL, ALICE)
    charge(other, 2, GLOBAL, ALICE)
    flying = hold(other, 4, GLOBAL, ALICE).id
    copies.put({})
    ledger.repair()
    assert figures(ledger) == (1, 0, 1)
    other.settle(flying, Used(4), AT)
    assert figures(ledger) == figures(ledger, ALICE) == (7, 0, 3)
    check(ledger)


def test_data_that_is_put_back_ends_the_refusals(ledger: RedisLedger, copies: Copies) -> None:
    charge(ledger, 1, GLOBAL, ALICE)
    older = copies.take()
    charge(ledger, 2, GLOBAL, ALICE)
    copies.put({})
    with pytest.raises(LedgerCorruptError):
        hold(ledger, 1, GLOBAL)
    copies.put(older)
    assert figures(ledger) == (3, 0, 2)


def test_another_ledger_in_its_place_is_not_taken_for_it(
    server: redis_server.RedisServer, project: str, ledger: RedisLedger, copies: Copies
) -> None:
    charge(ledger, 7, GLOBAL, ALICE)
    where = route(ledger, GLOBAL)
    copies.put({})
    anew = RedisLedger(server.url, project)
    give(anew, GLOBAL, usd(50))
    charge(anew, 1, GLOBAL)
    for verb in (lambda: ledger.hold("x.1", where, cost(5), AT), lambda: ledger.post("x.2", where, Used(5), AT)):
        with pytest.raises(LedgerCorruptError, match="are gone"):
            verb()
    assert ledger.repair()
    assert figures(anew) == (8, 0, 2)
    assert figures(anew, ALICE) == (7, 0, 1)
    assert [slot.amount for slot in anew.read(GLOBAL).slots] == [50]  # type: ignore[union-attr]
    check(anew)
    anew.close()


# -- through a manager, on a server that is really killed


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[redis_server.RedisServer]:
    """A server that writes snapshots when it is told to."""
    with redis_server.RedisServer("--appendonly", "no", folder=tmp_path) as made:
        yield made


def restart(server: redis_server.RedisServer, snapshot: Path | None) -> None:
    server.kill()
    (server.folder / "dump.rdb").unlink(missing_ok=True)
    if snapshot is not None:
        shutil.copy(snapshot, server.folder / "dump.rdb")
    server.start()


@pytest.mark.slow
def test_a_call_in_flight_survives_a_restart_with_an_older_snapshot(
    kept: redis_server.RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with BudgetManager("shop", ledger=kept.url, max_budget=1) as manager:
        manager.update_cost("alice", model="gpt-4o-mini", input_text="a", output_text="b")
        with manager.hold(cost=0.3, user="alice") as call:
            call.settle(cost=0.3)
        first = manager.balance().spent
        with kept.client() as client:
            client.save()
        shutil.copy(tmp_path / "dump.rdb", tmp_path / "older.rdb")
        with manager.hold(cost=0.4, user="alice") as call:
            call.settle(cost=0.4)
        with manager.hold(cost=0.2, user="alice") as call:
            restart(kept, tmp_path / "older.rdb")
            with pytest.raises(BudgetExceededError), manager.hold(cost=0.3, user="alice"):
                pass
            assert manager.balance().spent == pytest.approx(first + 0.4)
            assert manager.balance().held == 0.2
            call.settle(cost=0.2)
        assert manager.balance().spent == pytest.approx(first + 0.6)
        assert manager.balance("alice").spent == pytest.approx(first + 0.6)
        assert manager.balance().held == 0
    assert "lacks what it has acknowledged" in caplog.text


@pytest.mark.slow
def test_a_restart_without_data_refuses_calls_and_says_what_is_missing(kept: redis_server.RedisServer) -> None:
    with BudgetManager("shop", ledger=kept.url, max_budget=1) as manager:
        with manager.hold(cost=0.7, user="alice") as call:
            call.settle(cost=0.7)
        restart(kept, None)
        for _ in range(3):
            with pytest.raises(LedgerCorruptError, match=r"1 charge of \$0.70"), manager.hold(cost=0.1, user="alice"):
                pass
        assert manager.repair() > 0
        assert manager.balance().spent == 0.7
        with pytest.raises(BudgetExceededError), manager.hold(cost=0.4, user="alice"):
            pass


# -- servers that keep nothing


def test_a_server_that_keeps_nothing_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server.RedisServer(folder=tmp_path) as server:
        for number in range(2):
            RedisLedger(server.url, f"p{number}").close()
        assert [record.message for record in caplog.records] == [
            f"budgeted: the Redis at 127.0.0.1:{server.port} keeps nothing on disk (appendonly and save are both off); a restart without its data loses all limits and what was spent of them; set appendonly to yes there"  # noqa: E501
        ]


@pytest.mark.parametrize("option", [("--appendonly", "yes"), ("--save", "60", "1")])
def test_one_that_keeps_its_data_is_not(
    tmp_path: Path, option: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server.RedisServer(*option, folder=tmp_path) as server:
        RedisLedger(server.url, "p").close()
    assert caplog.records == []


def test_one_that_does_not_tell_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server.RedisServer("--save", "60", "1", folder=tmp_path) as server:
        with server.client() as client:
            client.acl_setuser(
                "guest", enabled=True, nopass=True, keys=["budgeted:*"], categories=["+@all"], commands=["-config"]
            )
        RedisLedger(f"redis://guest:any@127.0.0.1:{server.port}/0", "p").close()
    assert "does not tell whether it keeps its data on disk (CONFIG GET is refused" in caplog.text
