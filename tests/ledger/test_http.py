"""The ledger behind a server: lost answers, killed servers, tokens, and what it refuses to do."""

from __future__ import annotations

import asyncio
import gc
import itertools
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from ledgers import ALICE, check, cost, give, held, hold, route, spent, usd
from proxy import Proxy
from servers import BEHIND_A_SERVER, http_url, project
from serving import READER, TOKEN, Served, Serving

from budgeted import BudgetManager
from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.http.connections import Channel
from budgeted.ledger.http.ledger import HTTPLedger
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.network_ledger import DIED
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.spending_records import Used
from budgeted.server import asgi_application

NOW = int(time.time())


# -- answers that are lost or late


@pytest.fixture
def proxied() -> Iterator[tuple[Proxy, HTTPLedger]]:
    """A ledger with a limit, through a proxy that can lose what it answers."""
    port = int(http_url().rpartition(":")[2])
    with Proxy(("127.0.0.1", port)) as proxy:
        ledger = HTTPLedger(f"http://127.0.0.1:{proxy.port}", project())
        ledger.clock = lambda: 0.0
        give(ledger, GLOBAL, usd(1000))
        give(ledger, ALICE, usd(1000))
        yield proxy, ledger
        proxy.accept()
        ledger.close()


def test_a_verb_whose_answer_is_lost_is_applied_once(proxied: tuple[Proxy, HTTPLedger]) -> None:
    proxy, ledger = proxied
    proxy.cut = 1
    one = hold(ledger, 60, GLOBAL, ALICE)
    assert (held(ledger), held(ledger, ALICE)) == (60, 60)
    proxy.cut = 2
    assert ledger.settle(one.id, Used(40, 1, 1), NOW)
    proxy.cut = 1
    assert ledger.post("x.7", route(ledger, GLOBAL), Used(5), NOW) is True
    assert (held(ledger), spent(ledger), ledger.read(GLOBAL).calls) == (0, 45, 2)  # type: ignore[union-attr]
    check(ledger)


@pytest.mark.parametrize("verb", ["reset", "delete", "correct", "release"])
def test_what_must_not_be_done_twice_is_not_when_its_answer_is_lost(
    proxied: tuple[Proxy, HTTPLedger], verb: str
) -> None:
    proxy, ledger = proxied
    one = hold(ledger, 60, GLOBAL, ALICE)
    if verb == "release":
        proxy.cut = 1
        ledger.release(one.id, NOW)
        assert held(ledger) == 0
        return
    ledger.settle(one.id, Used(40), NOW)
    proxy.cut = 1
    if verb == "correct":
        before = ledger.correct(one.id, Used(70), NOW)
        assert before is not None
        assert (before.used.usd, spent(ledger)) == (40, 70)
    else:
        getattr(ledger, verb)(ALICE, *([NOW] if verb == "reset" else []))
        left = ledger.read(ALICE)
        assert (left.usd if left else None) == (0 if verb == "reset" else None)
    assert proxy.cut == 0
    check(ledger)


def test_a_reset_whose_answer_is_lost_is_not_done_again_by_a_server_that_does_not_know_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it was started again meanwhile: what was spent since would be forgotten."""
    with Serving(ledger=tmp_path) as one, Serving(ledger=tmp_path) as other:
        first, second = (("127.0.0.1", int(serving.url.rpartition(":")[2])) for serving in (one, other))
        with Proxy(first) as proxy:
            ledger = HTTPLedger(f"http://127.0.0.1:{proxy.port}", project())
            ledger._watched = True  # no other request of its own shall lose its answer
            give(ledger, GLOBAL, usd(1000))
            ledger.post("x.1", route(ledger, GLOBAL), Used(40), NOW)

            def wait(pause: float, deadline: float) -> bool:
                proxy._target = second
                elsewhere.post("x.2", route(elsewhere, GLOBAL), Used(5), NOW)
                return True

            elsewhere = HTTPLedger(other.url, ledger._query.partition("=")[2])
            monkeypatch.setattr("budgeted.ledger.http.connections._wait", wait)
            proxy.cut = 1
            with pytest.raises(LedgerError, match="cannot tell whether this was done"):
                ledger.reset(GLOBAL, NOW)
            assert spent(elsewhere) == 5
            ledger.close()
            elsewhere.close()


def test_what_never_reached_a_server_is_no_repeat() -> None:
    elsewhere = Channel("http://127.0.0.1:1/", {"content-type": "application/json"})
    seen: list[dict[str, str]] = []
    ask = elsewhere._connections.ask

    def noted(target: str, body: bytes | None, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        seen.append(dict(headers))
        return ask(target, body, headers, seconds)

    elsewhere._connections.ask = noted  # type: ignore[method-assign]
    with pytest.raises(OSError, match="refused"):
        elsewhere.post("reset", b"{}", time.monotonic() + 0.2, once="k")
    assert len(seen) > 1
    assert seen == [{"idempotency-key": "k"}] * len(seen)
    elsewhere.close()


def test_a_hold_whose_answer_never_came_is_given_back(proxied: tuple[Proxy, HTTPLedger]) -> None:
    proxy, ledger = proxied
    where = route(ledger, GLOBAL)
    hold(ledger, 1, GLOBAL, id="x.0")
    ledger.deadline = 0.3
    proxy.stalled = True
    for id in ("x.1", "x.2"):
        with pytest.raises(LedgerUnavailableError):
            ledger.hold(id, where, cost(60), NOW)
    proxy.stalled = False
    ledger.deadline = 5
    background_worker.drain()
    assert [one.id for one in ledger.open_holds()] == ["x.0"]
    assert held(ledger) == 1
    check(ledger)


def test_a_server_that_is_away_for_a_moment_is_waited_for(proxied: tuple[Proxy, HTTPLedger]) -> None:
    proxy, ledger = proxied
    proxy.refuse()
    threading.Timer(0.3, proxy.accept).start()
    assert hold(ledger, 60, GLOBAL).usd == 60


def test_a_server_that_does_not_answer_has_a_deadline_and_is_named(proxied: tuple[Proxy, HTTPLedger]) -> None:
    proxy, ledger = proxied
    ledger.deadline = 0.3
    for away in ("stalled", "refusing"):
        proxy.stalled = away == "stalled"
        if away == "refusing":
            proxy.refuse()
        began = time.monotonic()
        with pytest.raises(LedgerUnavailableError, match=f"127.0.0.1:{proxy.port}"):
            ledger.read(GLOBAL)
        assert time.monotonic() - began < 3
    proxy.stalled = False
    proxy.accept()
    ledger.deadline = 5
    assert spent(ledger) == 0


@pytest.mark.parametrize("given_back", ["first", "afterwards"])
def test_a_hold_that_comes_after_its_repeat_was_refused_is_not_kept(
    proxied: tuple[Proxy, HTTPLedger], monkeypatch: pytest.MonkeyPatch, given_back: str
) -> None:
    """As where the server was too busy to come to it, and there is room again when it does."""
    proxy, ledger = proxied
    later: list[Any] = []
    monkeypatch.setattr(background_worker, "retry", later.append)
    monkeypatch.setattr("budgeted.ledger.http.connections._wait", lambda *_: setattr(proxy, "parking", False) or True)
    other = hold(ledger, 950, GLOBAL)
    where = route(ledger, GLOBAL)
    ledger._watched = True  # no other request of its own shall be the one that is late
    proxy.parking = True
    assert isinstance(ledger.hold(ledger.new_id(), where, cost(60), NOW, timeout=0.4), Refused)
    ledger.release(other.id, NOW)
    [give_back] = later
    if given_back == "first":
        give_back()
    before = proxy.replies
    proxy.deliver()
    while proxy.replies == before:
        pass
    if given_back == "afterwards":
        assert held(ledger) == 60
        give_back()
    assert held(ledger) == 0
    check(ledger)


@pytest.mark.slow
def test_an_event_loop_goes_on_while_answers_are_late(proxied: tuple[Proxy, HTTPLedger]) -> None:
    proxy, ledger = proxied
    lags: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(time.perf_counter() - before - 0.005)

    async def run(manager: BudgetManager) -> None:
        ticking = asyncio.create_task(tick())
        async with manager.hold(cost=1e-7, user="carl"):
            pass
        ticking.cancel()

    with BudgetManager(project(), ledger=ledger) as manager:
        manager.set_limits("carl", "$1")
        proxy.delay = 0.5
        asyncio.run(run(manager))
        proxy.delay = 0
    lags.sort()
    print(f"loop lag: median {lags[len(lags) // 2] * 1e3:.2f} ms, most {lags[-1] * 1e3:.2f} ms, answers 500 ms late")
    assert lags[-1] < 0.4


def test_a_ledger_that_is_dropped_closes_its_connections() -> None:
    ledger = HTTPLedger(http_url(), project())
    ledger.read(GLOBAL)
    gone = weakref.ref(ledger)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del ledger
        gc.collect()
    assert gone() is None
    assert not told


# -- a server that is killed


@pytest.mark.slow
def test_a_killed_server_loses_nothing_and_retries_apply_nothing_twice(tmp_path: Path) -> None:
    served = Served(tmp_path / "journal")
    ledger = HTTPLedger(served.url, "default")
    ledger.deadline = 60.0
    give(ledger, GLOBAL, usd(10**9))
    give(ledger, ALICE, usd(10**9))
    where = route(ledger, GLOBAL, ALICE)
    stop = threading.Event()
    counts: list[int] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for number in itertools.count(1):
                one = ledger.hold(ledger.new_id(), where, cost(9), NOW)
                assert isinstance(one, Held), one
                ledger.settle(one.id, Used(7), NOW)
                if stop.is_set():
                    counts.append(number)
                    return
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = ledger.read(GLOBAL)
        assert before is not None
        while (account := ledger.read(GLOBAL)) is not None and account.calls < before.calls + 20:
            assert not errors
        served.kill()
        served.start()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert (spent(ledger), spent(ledger, ALICE), held(ledger)) == (7 * sum(counts), 7 * sum(counts), 0)
    assert ledger.read(GLOBAL).calls == sum(counts)  # type: ignore[union-attr]
    assert ledger.uncertain() == []
    ledger.close()
    code, log = served.stop()
    assert code in (0, -15), log
    assert "Traceback" not in log
    again = open_ledger(tmp_path / "journal", "default", fsync="background")
    assert spent(again) == 7 * sum(counts)
    check(again)
    again.close()


@pytest.mark.slow
def test_a_server_that_is_told_to_stop_answers_what_is_under_way(tmp_path: Path) -> None:
    served = Served(tmp_path / "journal")
    ledger = HTTPLedger(served.url, "default")
    give(ledger, GLOBAL, usd(100))
    one = hold(ledger, 60, GLOBAL, at=NOW)
    code, log = served.stop()
    assert code in (0, -15), log
    assert "Traceback" not in log
    served.start()
    assert held(ledger) == 60  # its lease has not run out
    assert ledger.settle(one.id, Used(50), NOW)
    assert ledger.uncertain() == []
    ledger.close()
    served.stop()


# -- clients that die


@pytest.mark.parametrize("kind", BEHIND_A_SERVER)
def test_clients_die_for_themselves_and_not_with_their_server(tmp_path: Path, kind: str) -> None:
    where, name = BEHIND_A_SERVER[kind](tmp_path / "ledger"), project()
    with Serving(ledger=where) as serving:
        one, other = (HTTPLedger(serving.url, name) for _ in range(2))
        for client in (one, other):
            client._watched = True  # else a client looks after its holds itself
        give(one, GLOBAL, usd(1000))
        hold(one, 60, GLOBAL, at=int(time.time()))
        hold(other, 5, GLOBAL, at=int(time.time()))
    with Serving(ledger=where) as again:
        for client in (one, other):
            client._disconnect()
            client._channel = Channel(f"{again.url}/v1/ledger/", {"content-type": "application/json"})
        assert one.sweep() == 0
        assert held(one) == 65
        one.renew(other.owner, 0)
        one.sweep()  # the server's own may have been faster
        assert [(charge.used.usd, charge.reason) for charge in one.uncertain()] == [(5, DIED)]
        assert held(one) == 60
        one.close()
        other.close()


@pytest.mark.parametrize("kind", BEHIND_A_SERVER)
def test_a_living_clients_hold_that_nobody_ends_is_charged_when_it_is_too_old(tmp_path: Path, kind: str) -> None:
    with Serving(ledger=BEHIND_A_SERVER[kind](tmp_path / "ledger"), hold_timeout=60) as serving:
        client = HTTPLedger(serving.url, project())
        client.hold_timeout = 60
        client._watched = True
        give(client, GLOBAL, usd(1000))
        hold(client, 5, GLOBAL, at=int(time.time()))
        hold(client, 60, GLOBAL, at=int(time.time()) - 100)
        client.sweep()  # the server's own may have been faster
        assert (held(client), spent(client)) == (5, 60)
        client.close()


# -- tokens and addresses


@pytest.fixture(scope="module")
def guarded() -> Iterator[Serving]:
    with Serving(ledger="memory://", tokens=(TOKEN,), read_tokens=(READER,)) as serving:
        yield serving


def test_the_token_is_taken_from_the_url_or_the_environment(guarded: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    for userinfo, variable in ((f"{TOKEN}@", None), (f"user:{TOKEN}@", None), ("", TOKEN), ("", f"{TOKEN},older")):
        monkeypatch.delenv("BUDGETED_TOKEN", raising=False)
        if variable:
            monkeypatch.setenv("BUDGETED_TOKEN", variable)
        ledger = HTTPLedger(guarded.url.replace("://", f"://{userinfo}"), project())
        give(ledger, GLOBAL, usd(5))
        assert TOKEN not in repr(ledger)
        ledger.close()


@pytest.mark.parametrize("token", ["wrong-secret", READER, ""])
def test_a_token_that_may_not_is_told_without_showing_it(guarded: Serving, token: str) -> None:
    ledger = HTTPLedger(guarded.url.replace("://", f"://{token}@"), project())
    with pytest.raises(LedgerError, match="refuses") as caught:
        give(ledger, GLOBAL, usd(5))
    assert not token or token not in str(caught.value)
    assert not isinstance(caught.value, LedgerUnavailableError)  # waiting does not help
    ledger.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://tok-secret@example.com",
        "http://tok-secret@10.0.0.5:8787",
        "https://tok-secret@:99999",
        "https://tok-secret@host:notaport",
        "https://tok-secret@host?option=1",
        "https://tok%0Asecret@host",
        "https://",
    ],
)
def test_addresses_that_cannot_or_must_not_be_used_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(LedgerError) as caught:
        open_ledger(url, "default", fsync="background")
    assert "secret" not in str(caught.value)


def test_plain_http_to_another_machine_must_be_asked_for() -> None:
    ledger = HTTPLedger("http://10.0.0.5:8787/budgets?allow_http=1", "default")
    assert repr(ledger) == "HTTPLedger('10.0.0.5:8787')"
    ledger.close()


def test_something_else_than_a_server_of_ours_is_told(proxied: Any) -> None:
    ledger = HTTPLedger(f"{http_url()}/elsewhere", "default")
    with pytest.raises(LedgerError, match="Not Found"):
        ledger.read(GLOBAL)
    ledger.close()


@pytest.mark.slow
def test_certificates_are_verified(tmp_path: Path) -> None:
    certificate, key, authority = tmp_path / "cert.pem", tmp_path / "key.pem", trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    served = Served(tmp_path / "journal", options=("--ssl-certfile", certificate, "--ssl-keyfile", key))
    url = f"https://localhost:{served.port}"
    try:
        stranger = HTTPLedger(url, "default")
        stranger.deadline = 1.0
        with pytest.raises(LedgerUnavailableError, match="certificate"):
            stranger.read(GLOBAL)
        stranger.close()
        opening = "from budgeted.ledger.http.ledger import HTTPLedger"
        trusting = f"import sys; {opening}; HTTPLedger(sys.argv[1], 'default').read('g')"
        environment = {"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "PYTHONPATH": ":".join(sys.path)}
        subprocess.run([sys.executable, "-c", trusting, url], env=environment, check=True, timeout=60)
    finally:
        served.stop()


# -- in a manager


def test_managers_on_several_hosts_share_a_budget_through_a_server() -> None:
    name = project()
    with BudgetManager(name, ledger=http_url(), max_budget=1) as one, BudgetManager(name, ledger=http_url()) as other:
        with one.hold(cost=0.75, user="alice") as call:
            call.settle(cost=0.5)
        assert other.balance().remaining == 0.5
        assert other.report()["alice"].spent == 0.5
        assert one.balance() == other.balance()


def test_requests_to_the_server_are_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    with BudgetManager(project(), ledger=http_url(), max_budget=1) as manager, manager.budget("alice") as block:
        manager.balance("alice")
        assert block.calls == 0
        assert manager.balance().spent == 0


@pytest.mark.slow
@pytest.mark.parametrize(("url", "library"), [("https://x", "httpx2"), ("http://localhost", "httptools")])
def test_without_its_libraries_the_ledger_says_what_to_install(url: str, library: str) -> None:
    program = f"import sys; sys.modules[{library!r}] = None; import budgeted; budgeted.BudgetManager(ledger={url!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'budgeted[http]'" in done.stderr


# -- servers of earlier versions


def test_a_server_that_tells_only_lists_is_asked_for_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = tuple(
        one for one in asgi_application.ENDPOINTS if not one.path.endswith(("/uncertain_page", "/spent_most"))
    )
    assert len(without) + 2 == len(asgi_application.ENDPOINTS)
    monkeypatch.setattr(asgi_application, "ENDPOINTS", without)
    with Serving(ledger=str(tmp_path / "ledger")) as server:
        ledger = HTTPLedger(server.url, "shop")
        for name in (GLOBAL, ALICE):
            give(ledger, name, usd(1000))
        one = hold(ledger, 60, GLOBAL, ALICE)
        ledger.settle(one.id, Used(40, 1, 1), NOW, "nobody knows")
        page = ledger.uncertain_page(ALICE)
        assert (page.count, page.usd, page.charges) == (1, 40, ledger.uncertain())
        assert ledger.uncertain_page("u:nobody").count == 0
        assert ledger.spent_most(20_000, 5) == [ALICE]
        ledger.close()
