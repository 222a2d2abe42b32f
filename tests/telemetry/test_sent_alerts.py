"""Alerts leave the process: as documented, signed, again until they are taken, and to nobody's harm."""

from __future__ import annotations

import datetime as dt
import hashlib
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from clocks import DAY, NOON, Clock
from hook_server import Hook, Proxy, closed_port, until

from budgeted import BudgetExceededError, BudgetManager
from budgeted.events import Event
from budgeted.integrations.webhooks import verify
from budgeted.telemetry.webhooks import couriers, requests
from budgeted.telemetry.webhooks.couriers import Courier
from budgeted.telemetry.webhooks.destinations import destinations
from budgeted.telemetry.webhooks.messages import body_of
from budgeted.telemetry.webhooks.requests import post

Make = Callable[..., BudgetManager]

KEY = "a key that hook and manager share"


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


@pytest.fixture
def other() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


def pay(manager: BudgetManager, cost: float, user: str | None = None) -> None:
    with manager.hold(cost=cost, user=user) as held:
        held.settle(cost=cost)


def couriers_of(manager: BudgetManager) -> list[Courier]:
    assert manager.payer.webhooks is not None
    return list(manager.payer.webhooks.couriers.values())


def has_failed(manager: BudgetManager, times: int = 1) -> None:
    """Wait until the first destination has been put off as often: only then does its pause begin."""
    until(lambda: couriers_of(manager)[0].failures == times)


def ended(manager: BudgetManager) -> None:
    """Wait until nothing waits."""
    until(lambda: not any(courier.waiting for courier in couriers_of(manager)))


def test_an_alert_is_sent_once_with_its_figures_signed(make_manager: Make, hook: Hook) -> None:
    manager = make_manager(
        "shop", default_user_limits="$10/day", alerts_to=hook.url, alerts_secret=KEY, clock=lambda: NOON
    )
    pay(manager, 8.5, "alice")
    pay(manager, 0.1, "alice")
    got = hook.next()
    assert got.path == "/services/T0SECRET"
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["Idempotency-Key"] == got.id
    assert verify(got.body, got.headers["Budgeted-Signature"], KEY)
    assert got.json == {
        "schema": "budgeted.event/1",
        "id": got.id,
        "kind": "alert",
        "at": "2025-11-22T12:00:00+00:00",
        "project": "shop",
        "account": "alice",
        "account_kind": "user",
        "limit": "$10/day",
        "unit": "usd",
        "amount": 10,
        "spent": 8.5,
        "held": 0,
        "remaining": 1.5,
        "threshold": 0.8,
        "resets_at": "2025-11-23T00:00:00+00:00",
        "exhausted_at": got.json["exhausted_at"],
        "text": got.json["text"],
    }
    assert dt.datetime.fromisoformat(got.json["exhausted_at"]).tzinfo is not None
    assert got.json["text"].startswith(
        "shop: user alice has spent 80% of $10/day ($8.50 of $10.00 spent, $1.50 left, until 2025-11-23 00:00 UTC)"
    )
    ended(manager)
    assert hook.got.empty()


def test_slack_gets_a_sentence_in_which_nobody_can_be_rung_for(make_manager: Make, hook: Hook) -> None:
    manager = make_manager("shop", default_user_limits="$1/day", alerts_to="slack+" + hook.url)
    pay(manager, 0.9, "<!channel> & <https://example.com|you>")
    sent = hook.next().json
    assert sent["text"].startswith("shop: user &lt;!channel&gt; &amp; &lt;https://example.com|you&gt; has spent 80%")
    assert sent["mrkdwn"] is False
    (slack,) = destinations("https://hooks.slack.com/services/T0/B0/X")
    assert slack.format == "slack"


def test_names_are_hashed_where_a_url_asks_for_it(make_manager: Make, hook: Hook, other: Hook) -> None:
    hashing = [f"{hook.url}#names=hash", f"slack+{other.url}#names=hash"]
    manager = make_manager(default_user_limits="$1/day", alerts_to=hashing, alerts=0.8)
    pay(manager, 0.9, "alice")
    with manager.budget(cap=1, key="nightly of alice"):
        pay(manager, 0.9)
    digest = hashlib.sha256(b"alice").hexdigest()[:16]
    bodies = [hook.next().body, hook.next().body, other.next().body, other.next().body]
    assert all(b"alice" not in body for body in bodies)
    assert digest.encode() in bodies[0]
    assert digest.encode() in bodies[2]


def test_other_kinds_are_sent_where_a_url_asks_for_them(make_manager: Make, hook: Hook, other: Hook) -> None:
    urls = [f"{hook.url}#kinds=refused+overrun", other.url]
    manager = make_manager(max_budget="$1", alerts_to=urls, on_exceed="raise", wait=0)
    with pytest.raises(BudgetExceededError), manager.hold(cost=2):
        pass
    with manager.hold(cost=0.5) as held:
        held.settle(cost=1.1)
    assert {hook.next().json["kind"], hook.next().json["kind"]} == {"refused", "overrun"}
    assert [other.next().json["threshold"], other.next().json["threshold"]] == [0.8, 1.0]
    ended(manager)
    assert hook.got.empty()
    assert other.got.empty()


def test_a_call_that_asks_and_a_stop_are_sent_as_they_are_told(make_manager: Make, hook: Hook, other: Hook) -> None:
    urls = [hook.url, f"{other.url}#kinds=resumed"]
    manager = make_manager("shop", default_user_limits="$1/day", alerts_to=urls, on_exceed="ask", wait=0.01)
    with pytest.raises(BudgetExceededError), manager.hold(cost=2, user="alice"):
        pass
    asked = hook.next().json
    assert (asked["kind"], asked["account"], asked["requested"], asked["remaining"]) == ("asked", "alice", 2, 1)
    assert asked["text"].startswith("shop: a call for user alice asks for $2.00 of $1/day ($0.00 of $1.00 spent, ")
    manager.stop("alice", reason="spends_too_much")
    assert hook.next().json["text"] == "shop: user alice is stopped: spends_too_much"
    manager.resume("alice")
    assert other.next().json["text"] == "shop: user alice goes on"
    ended(manager)
    assert hook.got.empty()


@pytest.mark.parametrize("failure", [500, 503, 429, "close"])
def test_what_is_not_taken_is_sent_again_after_longer_pauses_as_the_same_event(
    make_manager: Make, hook: Hook, failure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    hook.answers = [failure] * 6
    manager = make_manager(max_budget="$1/day", alerts_to=hook.url, alerts=0.8, alerts_secret=KEY, clock=clock)
    pay(manager, 0.9)
    got = [hook.next()]
    for number, pause in enumerate((1, 2, 4, 8, 16, 32), 1):
        has_failed(manager, number)
        assert pause / 2 <= couriers_of(manager)[0]._resumes - clock.now <= pause
        clock.now += pause
        got.append(hook.next())
    assert len({one.id for one in got}) == 1
    assert len({one.body for one in got}) == 1
    assert all(verify(one.body, one.headers["Budgeted-Signature"], KEY) for one in got)
    ended(manager)
    assert hook.got.empty()
    said = [one for one in caplog.messages if "does not take events" in one]
    assert len(said) == 1
    assert "SECRET" not in caplog.text


def test_a_destination_is_asked_no_sooner_than_it_says(make_manager: Make, hook: Hook, other: Hook) -> None:
    clock = Clock()
    hook.answers = [(429, {"Retry-After": "3600"})]
    other.answers = [(503, {"Retry-After": "soon"})]
    manager = make_manager(max_budget="$1/day", alerts_to=[hook.url, other.url], alerts=0.8, clock=clock)
    pay(manager, 0.9)
    first = hook.next(), other.next()
    for courier in couriers_of(manager):
        until(lambda courier=courier: courier.failures == 1)
    clock.now += 3590
    assert other.next().id == first[1].id
    assert hook.got.empty()
    clock.now += 11
    assert hook.next().id == first[0].id


@pytest.mark.parametrize("refusal", [400, 404, (301, {"Location": "/elsewhere"}), (307, {"Location": "/elsewhere"})])
def test_what_is_refused_is_not_sent_again_and_redirects_are_not_followed(
    make_manager: Make, hook: Hook, refusal: Any, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = [refusal]
    manager = make_manager(default_user_limits="$1/day", alerts_to=hook.url, alerts=0.8)
    pay(manager, 0.9, "alice")
    pay(manager, 0.9, "bob")
    assert [hook.next().json["account"], hook.next().json["account"]] == ["alice", "bob"]
    ended(manager)
    assert hook.got.empty()
    assert "refuses events with HTTP" in caplog.text
    assert "SECRET" not in caplog.text


def test_who_ends_during_a_pause_tries_once_more(make_manager: Make, hook: Hook) -> None:
    hook.answers = [500, 500, 500]
    manager = make_manager(max_budget="$1/day", alerts_to=hook.url, alerts=0.8, clock=Clock())
    pay(manager, 0.9)
    first = hook.next()
    has_failed(manager)
    assert not couriers.finish()
    assert hook.next().id == first.id
    assert hook.got.empty()


def test_an_event_is_given_up_after_a_day(make_manager: Make, hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    hook.answers = [500]
    manager = make_manager(default_user_limits="$1/week", alerts_to=hook.url, alerts=0.8, clock=clock)
    pay(manager, 0.9, "alice")
    hook.next()
    has_failed(manager)
    clock.now += DAY + 1
    pay(manager, 0.9, "bob")
    assert hook.next().json["account"] == "bob"
    ended(manager)
    assert hook.got.empty()
    assert "for a day" in caplog.text


def test_an_event_that_is_never_taken_does_not_keep_the_others(make_manager: Make, hook: Hook) -> None:
    clock = Clock()
    hook.behaves = lambda got: 500 if got.json["account"] == "alice" else 200
    manager = make_manager(default_user_limits="$1/day", alerts_to=hook.url, alerts=0.8, clock=clock)
    pay(manager, 0.9, "alice")
    hook.next()
    has_failed(manager)
    for user in ("bob", "carol"):
        pay(manager, 0.9, user)
    clock.now += 1
    assert hook.next().json["account"] == "alice"
    has_failed(manager, 2)
    clock.now += 2
    assert [hook.next().json["account"] for _ in range(3)] == ["bob", "carol", "alice"]
    assert couriers_of(manager)[0].waiting == 1


def test_as_many_wait_as_are_worth_it_and_the_rest_is_told_once(
    make_manager: Make, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{closed_port()}/SECRET#kinds=refused+alert"
    manager = make_manager(max_budget="$1", alerts_to=url, on_exceed="raise", wait=0, clock=Clock())
    for _ in range(600):
        with pytest.raises(BudgetExceededError), manager.hold(cost=2):
            pass
    pay(manager, 0.9)  # which is more important
    (courier,) = couriers_of(manager)
    assert (courier.waiting, courier.dropped) == (501, 100)
    (said,) = [one for one in caplog.messages if "takes too few" in one]
    assert said.endswith("/... takes too few: 500 events wait, and further ones are dropped (said once)")
    assert not couriers.finish(5)
    assert "has not taken 601 events; 0 wait for the next process" in caplog.text
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_hook_that_never_comes_to_an_end_is_left_in_time(hook: Hook, behaviour: str) -> None:
    hook.answers = [behaviour]
    begun = time.monotonic()
    (destination,) = destinations(hook.url)
    with pytest.raises(TimeoutError):
        post(destination.parts, b"{}", {}, seconds=0.3)
    assert time.monotonic() - begun < 5
    assert requests.SECONDS == 10


def test_no_call_waits_for_a_hook_that_hangs(make_manager: Make, hook: Hook) -> None:
    hook.behaves = lambda _: "hang"
    manager = make_manager(default_user_limits="$1/day", alerts_to=hook.url)
    pay(manager, 0.9, "alice")
    hook.next()
    begun = time.monotonic()
    for number in range(20):
        pay(manager, 0.9, f"user {number}")
    assert time.monotonic() - begun < 5  # and not 10 for each


@pytest.fixture
def authority(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Has the hook speak TLS under two names; its authority is nobody's until the file is named."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "hooks.example.test").configure_cert(context)
    hook._server.socket = context.wrap_socket(hook._server.socket, server_side=True)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    requests._tls.cache_clear()
    yield tmp_path / "ca.pem"
    requests._tls.cache_clear()


def test_a_hook_is_spoken_to_by_tls_where_its_certificate_is_right(
    hook: Hook, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (destination,) = destinations(f"https://localhost:{hook.port}/SECRET")
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        post(destination.parts, b"{}", {})
    assert "SECRET" not in requests.problem_of(refused.value)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    requests._tls.cache_clear()
    assert post(destination.parts, b"{}", {}).status == 200
    assert hook.next().path == "/SECRET"


def test_a_proxy_of_the_environment_is_asked_and_sees_no_more_than_the_host(
    hook: Hook, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(hook.port)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    (destination,) = destinations("https://hooks.example.test/SECRET")
    assert post(destination.parts, b"{}", {}).status == 200
    assert hook.next().headers["Host"] == "hooks.example.test"
    (head,) = proxy.asked
    assert head.startswith(b"CONNECT hooks.example.test:443 HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic bWU6cGFzcw==\r\n" in head
    assert b"SECRET" not in head
    proxy.close()


def test_what_is_sent_is_neither_metered_nor_held(make_manager: Make, hook: Hook) -> None:
    where = f"127.0.0.1:{hook.port}"
    manager = make_manager(
        max_budget="$1/day", alerts_to=f"http://user:pass@{where}/v1/chat/completions", unmetered_hosts=[where]
    )
    with manager.budget("alice"):
        pay(manager, 0.99)
    sent = hook.next()
    assert sent.headers["Authorization"] == "Basic dXNlcjpwYXNz"
    ended(manager)
    assert manager.balance().spent == 0.99
    assert manager.balance().held == 0
    assert manager.report("model").keys() == {""} or sum(row.calls for row in manager.report("model").values()) == 1


def test_one_more_url_changes_nothing_for_what_waits_elsewhere(make_manager: Make, hook: Hook, other: Hook) -> None:
    clock = Clock()
    hook.answers = [500]
    manager = make_manager(default_user_limits="$1/day", alerts_to=hook.url, alerts=0.8, clock=clock)
    pay(manager, 0.9, "alice")
    hook.next()
    has_failed(manager)
    manager.reconfigure(alerts_to=[hook.url, other.url])
    clock.now += 60
    assert hook.next().json["account"] == "alice"
    pay(manager, 0.01, "alice")
    assert other.next().json["account"] == "alice"
    manager.reconfigure(alerts_to=())
    pay(manager, 0.9, "bob")
    assert hook.got.empty()
    assert other.got.empty()


def test_what_is_sent_is_counted_by_host_and_outcome(make_manager: Make, hook: Hook, metrics: Any) -> None:
    hook.answers = [200, 404]
    url = hook.url.replace("127.0.0.1", "localhost")  # whose first address may be another one
    manager = make_manager(default_user_limits="$1/day", alerts_to=url, alerts=0.8)
    for user in ("alice", "bob"):
        pay(manager, 0.9, user)
        hook.next()
        ended(manager)
    manager.flush()
    outcomes = {"server.address": "localhost"}
    until(lambda: len(metrics.points("budgeted.alerts.sent", **outcomes)) == 2)
    assert metrics.value("budgeted.alerts.sent", outcome="taken", **outcomes) == 1
    assert metrics.value("budgeted.alerts.sent", outcome="refused", **outcomes) == 1


def test_an_event_whose_words_are_no_text_is_told_all_the_same() -> None:
    event = Event(kind="ledger", at=dt.datetime.now(dt.UTC), reason="a file called \udcff")
    for url in ("https://example.com/", "slack+https://example.com/"):
        (destination,) = destinations(url)
        assert b"a file called ?" in body_of(event, "id", destination)


def test_a_reset_has_an_alert_sent_anew(make_manager: Make, hook: Hook) -> None:
    manager = make_manager(max_budget="$1/day", alerts_to=hook.url, alerts=0.8)
    ids = []
    for _ in range(2):
        pay(manager, 0.9)
        ids.append(hook.next().id)
        manager.reset_cost(None)
    assert len(set(ids)) == 2
