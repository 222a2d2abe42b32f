"""Verbs of several threads that go to a server together: each keeps its own answer, error and repeats."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ledgers import ALICE, check, cost, give, held, hold, route, spent, usd
from proxy import Proxy
from servers import BEHIND_A_SERVER, http_url, project
from serving import READER, TOKEN, Asking, Serving

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.http.batches import AT_ONCE
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.spending_records import Used
from budgeted.server import asgi_application

NOW = 1_800_000_000

T = TypeVar("T")


@pytest.fixture
def proxied() -> Iterator[tuple[Proxy, HTTPLedger]]:
    """A ledger with a limit, through a proxy that can lose what it answers."""
    with Proxy(("127.0.0.1", int(http_url().rpartition(":")[2]))) as proxy:
        ledger = client(f"http://127.0.0.1:{proxy.port}")
        yield proxy, ledger
        ledger.close()


def client(url: str) -> HTTPLedger:
    ledger = HTTPLedger(url, project())
    ledger.clock = lambda: float(NOW)
    ledger._watched = True  # no other request of its own comes in between
    give(ledger, GLOBAL, usd(1000))
    give(ledger, ALICE, usd(1000))
    ledger._check_in(time.monotonic() + 20)  # nor does the first hold ask for its lease
    return ledger


def together(ledger: HTTPLedger, acts: Sequence[Callable[[], T]]) -> tuple[list[T | Exception], list[str]]:
    """What verbs are answered that come while as many requests are under way as may be, and what was asked then."""
    post = ledger._channel.post
    asked: list[str] = []
    under_way, go_on, ended = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)
    answers: list[Any] = [None] * len(acts)

    def noted(path: str, *given: Any, **options: Any) -> tuple[int, bytes]:
        asked.append(path.partition("?")[0])
        number = len(asked)
        if number <= AT_ONCE:
            under_way.release()
            assert go_on.wait(20)
        elif number == AT_ONCE + 1:
            assert all(ended.acquire(timeout=20) for _ in range(AT_ONCE))  # what is lost or late is what comes now
        try:
            return post(path, *given, **options)
        finally:
            ended.release()

    def act(number: int) -> None:
        try:
            answers[number] = acts[number]()
        except Exception as error:  # noqa: BLE001 - looked at by the test
            answers[number] = error

    def come_first() -> None:
        with contextlib.suppress(LedgerUnavailableError):
            ledger.release("x.nobodys", NOW)

    ledger._channel.post = noted  # type: ignore[method-assign]
    first = [threading.Thread(target=come_first) for _ in range(AT_ONCE)]
    for thread in first:
        thread.start()
    for _ in first:
        assert under_way.acquire(timeout=20)
    threads = [threading.Thread(target=act, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    while len(ledger._batches._combiner._line) < len(acts):
        pass
    go_on.set()
    for thread in (*first, *threads):
        thread.join(30)
    ledger._channel.post = post  # type: ignore[method-assign]
    return answers, asked[AT_ONCE:]


def test_what_comes_while_requests_are_under_way_is_one_request(proxied: tuple[Proxy, HTTPLedger]) -> None:
    _, ledger = proxied
    where = route(ledger, GLOBAL, ALICE)
    before = hold(ledger, 100, GLOBAL, ALICE, at=NOW)
    holds = [lambda id=f"x.{n}": ledger.hold(id, where, cost(400), NOW) for n in range(3)]
    answers, asked = together(ledger, [*holds, lambda: ledger.settle(before.id, Used(90), NOW)])
    assert asked == ["batch"]
    assert answers[3] is True
    assert sorted(type(one).__name__ for one in answers[:3]) == ["Held", "Held", "Refused"]
    assert (held(ledger), spent(ledger, ALICE)) == (800, 90)
    check(ledger)


def test_what_makes_no_sense_is_told_to_who_asked_for_it_alone(proxied: tuple[Proxy, HTTPLedger]) -> None:
    _, ledger = proxied
    where = route(ledger, GLOBAL, ALICE)
    give(ledger, ALICE, usd(900))
    now = route(ledger, GLOBAL)
    acts: list[Callable[[], object]] = [
        lambda: ledger.hold("x.1", where, cost(5), NOW),
        lambda: ledger.hold("x.2", now, cost(5), -1),
        lambda: ledger.settle("no id", Used(5), NOW),
        lambda: ledger.release("x.9", NOW),
        lambda: ledger.post("x.3", now, Used(5), NOW),
    ]
    answers, asked = together(ledger, acts)
    assert (asked[0], len(asked)) == ("batch", 6)
    assert isinstance(answers[0], Stale)
    assert [type(answers[number]) for number in (1, 2)] == [LedgerError, LedgerError]
    assert answers[3:] == [False, True]
    assert spent(ledger) == 5
    check(ledger)


def test_a_batch_whose_answer_is_lost_is_applied_once(proxied: tuple[Proxy, HTTPLedger]) -> None:
    proxy, ledger = proxied
    where = route(ledger, GLOBAL, ALICE)
    ids = [ledger.new_id() for _ in range(5)]
    proxy.spare, proxy.cut = AT_ONCE, 1
    answers, _ = together(ledger, [lambda id=id: ledger.hold(id, where, cost(60), NOW) for id in ids])
    assert proxy.cut == 0
    assert [type(one) for one in answers] == [Held] * 5
    assert held(ledger) == 300
    answers, _ = together(ledger, [lambda id=id: ledger.settle(id, Used(50), NOW) for id in ids])
    assert (answers, held(ledger), spent(ledger)) == ([True] * 5, 0, 250)
    check(ledger)


def test_holds_that_are_refused_after_their_answer_was_lost_are_given_back(
    proxied: tuple[Proxy, HTTPLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, ledger = proxied
    later: list[Any] = []
    monkeypatch.setattr(background_worker, "retry", later.append)
    where = route(ledger, GLOBAL)
    hold(ledger, 990, GLOBAL, at=NOW)
    proxy.spare, proxy.cut = AT_ONCE, 1
    answers, _ = together(ledger, [lambda id=f"x.{n}": ledger.hold(id, where, cost(60), NOW) for n in range(3)])
    assert [type(one) for one in answers] == [Refused] * 3
    assert sorted(id for id, _ in ledger._doubtful) == ["x.0", "x.1", "x.2"]
    assert later
    later[0]()
    assert held(ledger) == 990


def test_whose_time_is_up_ends_nobody_elses_request(proxied: tuple[Proxy, HTTPLedger]) -> None:
    _, ledger = proxied
    where = route(ledger, GLOBAL)
    post = ledger._channel.post
    failed: list[str] = []

    def late(path: str, *given: Any, **options: Any) -> tuple[int, bytes]:
        if path.startswith("batch") and not failed:
            failed.append(path)
            raise TimeoutError
        return post(path, *given, **options)

    ledger._channel.post = late  # type: ignore[method-assign]
    answers, _ = together(ledger, [lambda id=f"x.{n}": ledger.hold(id, where, cost(60), NOW) for n in range(4)])
    assert sorted(type(one).__name__ for one in answers) == ["Held"] * 3 + ["LedgerUnavailableError"]
    ledger._channel.post = post  # type: ignore[method-assign]
    background_worker.drain()
    assert held(ledger) == 180
    check(ledger)


def test_a_server_that_knows_no_batches_is_asked_for_one_verb_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    without = tuple(one for one in asgi_application.ENDPOINTS if not one.path.endswith("/batch"))
    assert len(without) + 1 == len(asgi_application.ENDPOINTS)
    monkeypatch.setattr(asgi_application, "ENDPOINTS", without)
    with Serving(ledger="memory://") as server:
        ledger = client(server.url)
        where = route(ledger, GLOBAL)
        ids = [ledger.new_id() for _ in range(4)]
        answers, asked = together(ledger, [lambda id=id: ledger.hold(id, where, cost(60), NOW) for id in ids])
        assert [type(one) for one in answers] == [Held] * 4
        assert asked == ["batch", "hold", "hold", "hold", "hold"]
        assert ledger.settle(ids[0], Used(50), NOW)
        assert (held(ledger), spent(ledger)) == (180, 50)
        ledger.close()


@pytest.mark.parametrize("kind", BEHIND_A_SERVER)
def test_a_server_does_batches_on_every_ledger(tmp_path: Path, kind: str) -> None:
    with Serving(ledger=BEHIND_A_SERVER[kind](tmp_path / "ledger"), hold_timeout=10**10) as server:
        ledger = client(server.url)
        where = route(ledger, GLOBAL, ALICE)
        ids = [ledger.new_id() for _ in range(6)]
        answers, asked = together(ledger, [lambda id=id: ledger.hold(id, where, cost(200), NOW) for id in ids])
        assert asked == ["batch"]
        assert sorted(type(one).__name__ for one in answers) == ["Held"] * 5 + ["Refused"]
        made = [one.id for one in answers if isinstance(one, Held)]
        answers, _ = together(ledger, [lambda id=id: ledger.settle(id, Used(7), NOW) for id in made])
        assert (answers, held(ledger), spent(ledger, ALICE)) == ([True] * 5, 0, 35)
        check(ledger)
        ledger.close()


def test_only_who_may_write_sends_batches_and_each_request_is_one_verb() -> None:
    release = {"release": {"id": "x.1", "at": NOW}}
    both = {**release, "settle": {"id": "x.1", "used": [1, 1, 1], "at": NOW}}
    settings = {"tokens": (TOKEN,), "read_tokens": (READER,)}
    with Serving(ledger="memory://", **settings) as server, Asking(server.url) as ask:
        assert ask("POST", "/v1/ledger/batch", {"requests": [release]}, READER).status_code == 403
        answer = ask("POST", "/v1/ledger/batch", {"requests": [release, {}, both]}).json()
        assert answer[0] == {"status": 200, "done": False}
        assert [one["status"] for one in answer[1:]] == [422, 422]
        for requests in ([], [release] * 65, [{"reset": {}}]):
            status = ask("POST", "/v1/ledger/batch", {"requests": requests}).status_code
            assert status == (200 if requests == [{"reset": {}}] else 422)


def test_a_ledger_that_is_away_is_told_to_each(proxied: tuple[Proxy, HTTPLedger]) -> None:
    proxy, ledger = proxied
    where = route(ledger, GLOBAL)
    ledger.deadline = 0.3
    proxy.refuse()
    answers, _ = together(ledger, [lambda id=f"x.{n}": ledger.hold(id, where, cost(60), NOW) for n in range(4)])
    assert [type(one) for one in answers] == [LedgerUnavailableError] * 4
    proxy.accept()
    ledger.deadline = 5
    background_worker.drain()
    assert held(ledger) == 0
