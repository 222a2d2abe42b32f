"""Verbs of calls that reach a Redis together are done as if they had come one by one."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
import redis_server
from ledgers import ALICE, AT, BOB, check, cost, give, held, hold, route, spent, tokens, usd

from budgeted.errors import LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.redis.ledger import RedisLedger
from budgeted.ledger.spending_records import Used

Verb = Callable[[], object]


@pytest.fixture
def server() -> Iterator[redis_server.RedisServer]:
    with redis_server.RedisServer() as made:
        yield made


def patient(server: redis_server.RedisServer) -> str:
    """Its URL, for who has to wait until a test lets it answer."""
    return f"{server.url}?socket_timeout=60"


@pytest.fixture
def ledger(server: redis_server.RedisServer) -> Iterator[RedisLedger]:
    made = RedisLedger(patient(server), "p")
    yield made
    made.close()


@pytest.fixture
def crew() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as made:
        yield made


@contextlib.contextmanager
def under_way(server: redis_server.RedisServer, ledger: RedisLedger, crew: ThreadPoolExecutor) -> Iterator[None]:
    """A round trip that the server answers at the end, so that what comes meanwhile goes together."""
    with server.client() as client:
        client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        first = crew.submit(ledger.release, "nobody's", AT)
        while not ledger._together._led:
            threading.Event().wait(0.001)
        yield
        client.execute_command("CLIENT", "UNPAUSE")
        assert first.result() is False


def lined_up(ledger: RedisLedger, crew: ThreadPoolExecutor, verbs: list[Verb]) -> list[Future[object]]:
    """The verbs, each in a thread of its own, in this order."""
    made: list[Future[object]] = []
    for verb in verbs:
        made.append(crew.submit(verb))
        while len(ledger._together._line) < len(made):
            threading.Event().wait(0.001)
    return made


def ended(calls: list[Future[object]]) -> list[object]:
    """What came of them, or the name and the text of what was raised."""
    return [call.exception() or call.result() for call in calls]


def test_they_take_one_round_trip_and_each_gets_its_own_answer(
    server: redis_server.RedisServer, ledger: RedisLedger, crew: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(ledger, GLOBAL, usd(25))
    where, other = route(ledger, GLOBAL), hold(ledger, 5, GLOBAL)
    verbs: list[Verb] = [lambda i=i: ledger.hold(f"x.{i}", where, cost(6), AT) for i in range(5)]  # type: ignore[misc]
    verbs.insert(2, lambda: ledger.settle(other.id, Used(1), AT))
    verbs.insert(3, lambda: ledger.settle("x.0", Used(3), AT))
    verbs += [lambda: ledger.settle("x.0", Used(4), AT), lambda: ledger.release("x.1", AT)]
    trips, run = list[int](), ledger._together._run

    def counted(together: Any) -> Any:
        trips.append(len(together))
        return run(together)

    monkeypatch.setattr(ledger._together, "_run", counted)
    with under_way(server, ledger, crew):
        calls = lined_up(ledger, crew, verbs)
    found = ended(calls)
    assert trips == [1, len(verbs)]
    assert [isinstance(one, Held) for one in found[:2]] == [True, True]
    assert found[2:4] == [True, True]
    assert [type(one) for one in found[4:7]] == [Held, Held, Refused]
    assert isinstance(found[7], LedgerError)
    assert "settled before" in str(found[7])
    assert found[8] is True
    assert (spent(ledger), held(ledger)) == (4, 12)
    check(ledger)


def test_what_is_wrong_with_one_is_none_of_the_others_business(
    server: redis_server.RedisServer, ledger: RedisLedger, crew: ThreadPoolExecutor
) -> None:
    for name in (GLOBAL, ALICE, BOB):
        give(ledger, name, usd(100))
    by = {name: route(ledger, GLOBAL, name) for name in (ALICE, BOB)}
    with server.client() as client:
        client.hset(ledger._key.decode() + ":accounts", ALICE, b"\xc1")
    with under_way(server, ledger, crew):
        calls = lined_up(
            ledger, crew, [lambda n=n: ledger.hold(ledger.new_id(), by[n], cost(1), AT) for n in (BOB, ALICE, BOB)]
        )
    found = ended(calls)
    assert [type(one) for one in found] == [Held, LedgerUnavailableError, Held]
    assert (held(ledger), held(ledger, BOB)) == (2, 2)
    background_worker.drain()


def test_who_is_not_sent_in_time_has_asked_for_nothing(
    server: redis_server.RedisServer, ledger: RedisLedger, crew: ThreadPoolExecutor
) -> None:
    give(ledger, GLOBAL, usd(100))
    where = route(ledger, GLOBAL)
    with (
        under_way(server, ledger, crew),
        pytest.raises(LedgerLockedError, match="busy with other calls of this process"),
    ):
        ledger.hold("x.1", where, cost(1), AT, timeout=0.05)
    background_worker.drain()
    assert isinstance(ledger.hold("x.1", where, cost(1), AT), Held)


@pytest.mark.parametrize("seed", range(6))
def test_together_they_leave_what_they_leave_one_by_one(
    seed: int, server: redis_server.RedisServer, crew: ThreadPoolExecutor
) -> None:
    left = []
    for name in ("together", "one by one"):
        rng = random.Random(seed)
        ledger = RedisLedger(patient(server), name)
        ledger.owner, ledger._prefix = "x", "x."
        for account in (GLOBAL, ALICE, BOB):
            give(ledger, account, usd(rng.randrange(50, 400)), tokens(rng.randrange(100, 1000)))
        answers: list[object] = []
        for _ in range(4):
            verbs = [_random_verb(ledger, rng) for _ in range(12)]
            if name == "together":
                with under_way(server, ledger, crew):
                    calls = lined_up(ledger, crew, verbs)
                answers += ended(calls)
            else:
                ledger.release("nobody's", AT)
                answers += [_outcome(verb) for verb in verbs]
        check(ledger)
        content: Any = ledger.everything()
        parts = content.accounts, content.rows, content.charges, ledger.open_holds()
        left.append([list(map(_told, answers)), *(sorted(map(_told, part)) for part in parts)])
        ledger.close()
    assert left[0] == left[1]


def _random_verb(ledger: RedisLedger, rng: random.Random) -> Verb:
    id = f"x.{rng.randrange(1, 25)}"
    where = route(ledger, GLOBAL, *rng.choice([(), (ALICE,), (BOB,), (ALICE, BOB)]))
    used = Used(rng.randrange(30), rng.randrange(30), 1)
    ask = Ask(usd=5, usd_rate=rng.randrange(3000), tokens=9, tokens_rate=1, least=1, most=40, uncertain_output=20)
    reason = rng.choice(["", "", "cut"])
    return rng.choice(
        [
            lambda: ledger.hold(id, where, ask, AT),
            lambda: ledger.hold(id, where, ask, AT),
            lambda: ledger.settle(id, used, AT, reason),
            lambda: ledger.release(id, AT),
            lambda: ledger.post(id, where, used, AT, reason),
        ]
    )


def _outcome(verb: Verb) -> object:
    try:
        return verb()
    except LedgerError as error:
        return error


def _told(answer: object) -> str:
    if isinstance(answer, Exception):
        return f"{type(answer).__name__} {answer}"
    return msgspec.json.encode(answer, enc_hook=repr).decode()
