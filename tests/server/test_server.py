"""The server as its callers see it: who may ask, what answers, and how mistakes are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from serving import READER, TOKEN, Asking, Serving

from budgeted.ledger.http.verbs_as_json import VERBS
from budgeted.ledger.opening import open_ledger
from budgeted.server import ServerSettings

ROUTE = {"legs": [["g", [["usd", 0, 2**62]]]], "versions": [1], "day": 20_000, "provider": "p", "model": "m"}


def set_limits(ask: Asking, amount: int) -> None:
    body = {"account": "g", "limits": [["usd", 0, amount, 0, 2**62]]}
    ask("POST", "/v1/ledger/renew", {"owner": "a", "seconds": 600})
    assert ask("POST", "/v1/ledger/set_limits", body).status_code == 200


def hold(ask: Asking, id: str, usd: int) -> Any:
    return ask("POST", "/v1/ledger/hold", {"id": id, "route": ROUTE, "ask": {"usd": usd}, "at": int(time.time())})


# -- who may ask


@pytest.mark.parametrize("token", [None, "nonsense", TOKEN[:-1], TOKEN + "x", READER.upper(), "ü"])
def test_who_has_no_token_gets_nothing(ask: Asking, token: str | None) -> None:
    headers = {} if token is None else {"authorization": f"Bearer {token}".encode()}
    for method, path in [("GET", "/v1/balances"), ("POST", "/v1/ledger/read"), ("POST", "/get_budget")]:
        answer = ask(method, path, {} if method == "POST" else None, token=None, headers=dict(headers))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["type"] == "Unauthorized"


def test_who_may_only_read_changes_nothing(ask: Asking) -> None:
    assert ask("GET", "/v1/balances", token=READER).json() == []
    assert ask("POST", "/get_budget", {"project_name": "x"}, token=READER).json()["status"] == "error"
    assert ask("POST", "/set_budget", {"project_name": "x", "user_dict": {}}, token=READER).status_code == 403
    assert ask("PUT", "/v1/limits", {"limits": ["$1"]}, token=READER).json()["error"]["type"] == "Forbidden"
    for name, verb in VERBS.items():
        answer = ask("POST", f"/v1/ledger/{name}", {}, token=READER)
        assert (answer.status_code == 403) == verb.changes, name


def test_health_and_the_description_are_for_everybody(ask: Asking) -> None:
    for path in ("/health", "/health/live", "/health/ready", "/openapi.json"):
        assert ask("GET", path, token=None).status_code == 200


def test_without_tokens_only_this_machine_is_served() -> None:
    with Serving(ledger="memory://") as serving, Asking(serving.url) as ask:
        assert ask("GET", "/v1/balances", token=None).status_code == 200
        rebound = ask("GET", "/v1/balances", token=None, headers={"host": "evil.example:80"})
        assert (rebound.status_code, rebound.json()["error"]["type"]) == (403, "Forbidden")
        form = ask.client.post("/v1/ledger/reset", content="{}", headers={"content-type": "text/plain"})
        assert form.status_code == 415


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com"])  # noqa: S104
def test_other_machines_are_not_served_without_tokens(host: str) -> None:
    with pytest.raises(ValueError, match="BUDGETED_TOKEN"):
        ServerSettings().check_host(host)
    ServerSettings(tokens=(TOKEN,)).check_host(host)
    for here in ("127.0.0.1", "::1", "localhost"):
        ServerSettings().check_host(here)


# -- settings


def test_settings_come_from_the_environment() -> None:
    found = ServerSettings.from_environment(
        {
            "BUDGETED_LEDGER": "memory://",
            "BUDGETED_TOKEN": "one, two",
            "BUDGETED_READ_TOKEN": "three",
            "BUDGETED_MAX_BODY": "1000",
            "BUDGETED_HOLD_TIMEOUT": "60",
        }
    )
    assert found.tokens == ("one", "two")
    assert (found.may("two"), found.may("three"), found.may("four"), found.may(None)) == ("write", "read", "", "")
    assert (found.max_body, found.hold_timeout, found.ledger) == (1000, 60.0, "memory://")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BUDGETED_MAX_BODY", "many"),
        ("BUDGETED_THREADS", "0"),
        ("BUDGETED_TOKEN", "a b\u00fc"),
        ("BUDGETED_HOLD_TIMEOUT", "nan"),
        ("BUDGETED_HOLD_TIMEOUT", "0"),
        ("BUDGETED_FSYNC", "sometimes"),
        ("BUDGETED_TIMEZONE", "Mars/Olympus"),
    ],
)
def test_settings_that_make_no_sense_are_told(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"must be|write") as caught:
        ServerSettings.from_environment({variable: value})
    assert variable != "BUDGETED_TOKEN" or value not in str(caught.value)


def test_the_app_is_made_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import budgeted.server

    monkeypatch.setenv("BUDGETED_LEDGER", "memory://")
    monkeypatch.delitem(vars(budgeted.server), "app", raising=False)
    assert budgeted.server.app is budgeted.server.app
    monkeypatch.delitem(vars(budgeted.server), "app")


# -- mistakes


def test_a_refusal_carries_its_figures(ask: Asking) -> None:
    set_limits(ask, 100)
    assert hold(ask, "a.1", 60).status_code == 200
    refused = hold(ask, "a.2", 60)
    assert refused.status_code == 402
    error = refused.json()["error"]
    assert error["type"] == "BudgetExceededError"
    assert "the global budget has $0.00000004 left of $0.0000001" in error["message"]
    assert {name: error["refused"][name] for name in ("spent", "held", "requested", "amount", "reason")} == {
        "spent": 0,
        "held": 60,
        "requested": 60,
        "amount": 100,
        "reason": "held",
    }


def test_a_route_of_older_limits_is_a_conflict(ask: Asking) -> None:
    set_limits(ask, 100)
    set_limits(ask, 200)
    stale = hold(ask, "a.1", 60)
    assert (stale.status_code, stale.json()["error"]["type"]) == (409, "Stale")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/ledger/read", "{", 400),
        ("/v1/ledger/read", "{}", 422),
        ("/v1/ledger/read", '{"account": ""}', 422),
        ("/v1/ledger/settle", '{"id": "a.1", "used": [-5], "at": 1}', 422),
        ("/v1/ledger/settle", '{"id": "../../etc.1", "used": [5], "at": 1}', 422),
        ("/v1/ledger/settle", '{"id": "a.1", "used": [1e400], "at": 1}', 422),
        ("/v1/ledger/settle", '{"id": "a.1", "used": [99999999999999999999], "at": 1}', 422),
        ("/v1/ledger/settle", '{"id": "a.1", "used": [true], "at": 1}', 422),
        ("/v1/ledger/renew", '{"owner": "../x", "seconds": 1}', 422),
        ("/v1/ledger/renew", '{"owner": "abc\\n", "seconds": 1}', 422),
        ("/v1/ledger/release", '{"id": "a.1\\n", "at": 1}', 422),
        ("/v1/ledger/read", '{"account": "g\\n"}', 422),
        ("/v1/report", '{"since": "2026-01-01\\n"}', 405),
        ("/v1/ledger/hold", '{"id": "a.1", "route": {}, "ask": {}, "at": 1}', 422),
        ("/set_budget", '{"project_name": "p", "user_dict": {"alice": {"total_budget": -1}}}', 422),
        ("/set_budget", '{"project_name": "", "user_dict": {}}', 422),
        ("/get_budget", '{"project": "p"}', 422),
        ("/v1/limits", '{"limits": ["$1/fortnight"]}', 405),
        ("/nowhere", "{}", 404),
    ],
)
def test_what_makes_no_sense_is_told_as_json(ask: Asking, path: str, body: str, status: int) -> None:
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    answer = ask.client.post(path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"]
    assert error["message"]


def test_a_route_that_does_not_fit_its_flags_is_refused(ask: Asking) -> None:
    set_limits(ask, 100)
    body = {"id": "a.1", "route": {**ROUTE, "soft": [True, False]}, "ask": {"usd": 1}, "at": 1}
    assert ask("POST", "/v1/ledger/hold", body).status_code == 422


def test_bodies_are_bounded_whether_or_not_they_tell_their_size(ask: Asking) -> None:
    big = b'{"account": "u:' + b"x" * 200_000 + b'"}'
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(big), 1000):
            yield big[at : at + 1000]

    for content in (big, pieces()):
        try:
            answer = ask.client.post("/v1/ledger/read", content=content, headers=headers)
        except httpx2.WriteError:  # the server has answered and gone before all was sent
            continue
        assert (answer.status_code, answer.json()["error"]["type"]) == (413, "BodyTooLarge")
    assert ask("POST", "/v1/ledger/read", {"account": "u:" + "x" * 90_000}).status_code == 200


def test_a_ledger_that_cannot_be_used_makes_the_server_unready_but_alive(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("not a directory")
    with Serving(ledger=str(tmp_path / "file" / "below")) as serving, Asking(serving.url) as ask:
        assert ask("GET", "/health/live", token=None).status_code == 200
        assert ask("GET", "/health", token=None).status_code == 503
        assert ask("GET", "/v1/balances", token=None).status_code in (409, 503)


def test_projects_are_bounded() -> None:
    with Serving(ledger="memory://", max_projects=2) as serving, Asking(serving.url) as ask:
        made = [ask("PUT", "/v1/limits", {"limits": ["$1"]}, params={"project": f"p{n}"}) for n in range(3)]
        assert [answer.status_code for answer in made] == [200, 200, 503]


# -- what people ask


def test_limits_are_set_shown_and_taken_away(ask: Asking) -> None:
    shown = ask("PUT", "/v1/limits", {"user": "alice", "limits": ["$5/day", "60 calls/minute"]}).json()
    assert [(one["text"], one["remaining"]) for one in shown] == [("$5/day", 5.0), ("60 calls/minute", 60)]
    assert ask("GET", "/v1/balances?user=alice").json()[0]["limit"] == 5
    assert [one["name"] for one in ask("GET", "/v1/accounts?prefix=a&count=5").json()] == ["alice"]
    assert ask("DELETE", "/v1/accounts?user=alice").json() is None
    assert ask("DELETE", "/v1/accounts?user=alice").json()["error"]["type"] == "UnknownUserError"
    assert ask("GET", "/v1/accounts").json() == []
    assert ask("GET", "/v1/accounts?page=2").json()["error"]["message"] == "there is no query parameter 'page'"
    assert "$1/fortnight" in ask("PUT", "/v1/limits", {"limits": ["$1/fortnight"]}).json()["error"]["message"]


def test_users_are_topped_up_stopped_resumed_and_assigned(ask: Asking) -> None:
    bob = '"; DROP TABLE <script>'
    ask("PUT", "/v1/limits", {"user": bob, "limits": ["$5/day"]})
    assert ask("POST", "/v1/top-up", {"user": bob, "amount": "2.50"}).json()[0]["remaining"] == 7.5
    assert ask("POST", "/v1/stop", {"user": bob, "reason": "his key has leaked"}).status_code == 200
    assert ask("POST", "/v1/assign", {"user": bob, "team": "team:search"}).status_code == 200
    found = {one["name"]: one for one in ask("GET", "/v1/accounts").json()}[bob]
    assert (found["stopped"], found["team"]) == ("his key has leaked", "team:search")
    assert ask("POST", "/v1/resume", {"user": bob}).status_code == 200
    assert ask("POST", "/v1/assign", {"user": bob}).status_code == 200
    found = {one["name"]: one for one in ask("GET", "/v1/accounts").json()}[bob]
    assert not found["stopped"]
    assert not found["team"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/top-up", {"user": "nobody", "amount": 1}),
        ("/v1/top-up", {"amount": "-1"}),
        ("/v1/stop", {"user": "alice", "reason": "x" * 10_000}),
        ("/v1/assign", {"team": "team:search"}),
        ("/v1/assign", {"user": "alice", "team": "alice"}),
    ],
)
def test_changes_that_make_no_sense_are_refused_and_readers_make_none(
    ask: Asking, path: str, body: dict[str, object]
) -> None:
    assert ask("POST", path, body).status_code in (404, 422)
    assert ask("POST", path, body, token=READER).status_code == 403


def test_reports_and_uncertain_charges_are_shown_and_reconciled(ask: Asking) -> None:
    set_limits(ask, 10**9)
    hold(ask, "a.1", 500)
    ask("POST", "/v1/ledger/settle", {"id": "a.1", "used": [400, 3, 4], "at": 1, "reason": "timed out"})
    assert ask("GET", "/v1/report?by=model").json()["m"]["input_tokens"] == 3
    assert [one["id"] for one in ask("GET", "/v1/uncertain").json()] == ["a.1"]
    assert ask("POST", "/v1/reconcile", {"id": "a.1", "cost": "0.000001"}).status_code == 200
    assert ask("GET", "/v1/uncertain").json() == []
    assert ask("GET", "/v1/balances").json()[0]["spent"] == 0.000001
    assert ask("POST", "/v1/reset", {}).json()[0]["spent"] == 0


def test_projects_are_apart_whatever_their_names(ask: Asking) -> None:
    for project in ("a/b", "..", "a b?&#%", "\N{PILE OF POO}"):
        ask("PUT", "/v1/limits", {"limits": ["$1"]}, params={"project": project})
        assert len(ask("GET", "/v1/balances", params={"project": project}).json()) == 1
    assert ask("GET", "/v1/balances").json() == []


def test_periods_end_without_anybody_doing_anything(ask: Asking) -> None:
    body = {"account": "g", "limits": [["usd/day", 0, 100, 0, 86_400]]}
    ask("POST", "/v1/ledger/set_limits", body)
    route = {**ROUTE, "legs": [["g", [["usd/day", 0, 86_400]]]]}
    ask("POST", "/v1/ledger/post", {"id": "a.1", "route": route, "used": [100], "at": 1})
    [balance] = ask("GET", "/v1/balances").json()
    assert (balance["spent"], balance["remaining"]) == (0, 1e-7)


def test_an_answer_that_was_lost_is_repeated_and_the_work_is_not(ask: Asking) -> None:
    set_limits(ask, 100)
    charged = {"id": "a.1", "route": ROUTE, "used": [10], "at": 1}
    ask("POST", "/v1/ledger/post", charged)
    reset = {"account": "g", "at": 1}
    assert ask("POST", "/v1/ledger/reset", reset, headers={"idempotency-key": "k1"}).status_code == 200
    ask("POST", "/v1/ledger/post", {**charged, "id": "a.2"})
    assert ask("POST", "/v1/ledger/reset", reset, headers={"idempotency-key": "k1"}).status_code == 200
    assert ask("POST", "/v1/ledger/read", {"account": "g"}).json()[4] == 10
    ask("POST", "/v1/ledger/reset", reset, headers={"idempotency-key": "k2"})
    assert ask("POST", "/v1/ledger/read", {"account": "g"}).json()[4] == 0


def test_an_answer_is_that_of_its_own_project_whatever_it_is_called(ask: Asking) -> None:
    reset = {"account": "g", "at": 1}
    for project, key in (("a", "b c"), ("a b", "c")):
        for verb, body in (
            ("set_limits", {"account": "g", "limits": [["usd", 0, 100, 0, 2**62]]}),
            ("post", {"id": "a.1", "route": ROUTE, "used": [10], "at": 1}),
        ):
            assert ask("POST", f"/v1/ledger/{verb}", body, params={"project": project}).status_code == 200
        ask("POST", "/v1/ledger/reset", reset, params={"project": project}, headers={"idempotency-key": key})
        assert ask("POST", "/v1/ledger/read", {"account": "g"}, params={"project": project}).json()[4] == 0


def test_a_repeat_that_the_server_knows_nothing_of_is_refused(ask: Asking) -> None:
    set_limits(ask, 100)
    ask("POST", "/v1/ledger/post", {"id": "a.1", "route": ROUTE, "used": [10], "at": 1})
    again = {"idempotency-key": "k1", "idempotency-repeat": "true"}
    answer = ask("POST", "/v1/ledger/reset", {"account": "g", "at": 1}, headers=again)
    assert answer.status_code == 409
    assert "cannot tell whether this was done" in answer.json()["error"]["message"]
    assert ask("POST", "/v1/ledger/read", {"account": "g"}).json()[4] == 10


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("post", {"id": "a.1", "route": {**ROUTE, "legs": [["", []]]}, "used": [1], "at": 1}),
        ("post", {"id": "a.1", "route": ROUTE, "used": [1], "at": 2**63}),
        ("post", {"id": "a.1", "route": {**ROUTE, "day": 2**63}, "used": [1], "at": 1}),
        ("hold", {"id": "a.1", "route": {**ROUTE, "legs": [["A:x", []]]}, "ask": {}, "at": 1}),
        ("hold", {"id": "a.1", "route": {**ROUTE, "legs": 2 * ROUTE["legs"], "versions": [1, 1]}, "ask": {}, "at": 1}),
        ("hold", {"id": "a.1", "route": {**ROUTE, "versions": []}, "ask": {}, "at": 1}),
        ("hold", {"id": "a.1", "route": {**ROUTE, "legs": [["g", [["usd", 0, 2**62]] * 2]]}, "ask": {}, "at": 1}),
        ("set_limits", {"account": "g\n", "limits": []}),
        ("accounts", {"count": 2**63}),
        ("rollups", {"since": 2**63}),
        ("post", {"id": "a.1", "route": ROUTE, "used": [1], "at": 253_402_300_800, "reason": "lost"}),
        ("post", {"id": "a.1", "route": {**ROUTE, "day": 3_000_000}, "used": [1], "at": 1}),
        ("restore", {"rows": [[3_000_000, "g", "p", "m"]]}),
        ("restore", {"rows": [[1, "", "p", "m"]]}),
        ("restore", {"rows": [[1, "g", "p", "m", -1]]}),
        ("restore", {"rows": [[1, "g", "p", "m", 1, 2**63]]}),
        ("restore", {"accounts": [["x"]]}),
        ("restore", {"accounts": [["g", 1, True, [["usd", 0, 10, 0, 2**62, -5]]]]}),
    ],
)
def test_numbers_and_accounts_that_no_ledger_can_keep_are_refused(tmp_path: Path, verb: str, body: Any) -> None:
    with Serving(ledger=f"sqlite:///{tmp_path}/spend.db") as serving, Asking(serving.url) as ask:
        set_limits(ask, 100)
        answer = ask("POST", f"/v1/ledger/{verb}", body)
        assert answer.status_code == 422, answer.text
        for look in ("report?by=day", "uncertain"):
            assert ask("GET", f"/v1/{look}").status_code == 200


def test_a_project_whose_name_no_folder_takes_is_refused(tmp_path: Path) -> None:
    with Serving(ledger=str(tmp_path)) as serving, Asking(serving.url) as ask:
        for name in ("\N{PILE OF POO}" * 64, "x" * 256):
            assert ask("GET", "/v1/balances", params={"project": name}).status_code == 422
            assert ask("PUT", "/v1/limits", {"limits": ["$1"]}, params={"project": name}).status_code == 422


# -- who is there, and who lives


def test_looking_at_a_project_that_is_not_there_makes_none(tmp_path: Path) -> None:
    settings = {"ledger": str(tmp_path), "tokens": (TOKEN,), "read_tokens": (READER,), "max_projects": 1}
    with Serving(**settings) as serving, Asking(serving.url) as ask:
        for name in ("misspelt", "other"):
            params = {"project": name}
            assert ask("GET", "/v1/accounts", token=READER, params=params).json() == []
            assert ask("POST", "/v1/ledger/read", {"account": "g"}, token=READER, params=params).json() is None
            assert ask("POST", "/v1/ledger/sweep", {"hold_timeout": 5}, params=params).json() == 0
        assert list(tmp_path.iterdir()) == []
        ask("PUT", "/v1/limits", {"limits": ["$1"]}, params={"project": "app"})
        assert ask("GET", "/v1/balances", token=READER, params={"project": "app"}).json()[0]["limit"] == 1


@pytest.mark.parametrize("kind", ["memory", "journal", "sqlite"])
def test_a_client_that_keeps_no_lease_lives_as_long_as_its_holds_may(tmp_path: Path, kind: str) -> None:
    where = {"memory": "memory://", "journal": str(tmp_path), "sqlite": f"sqlite:///{tmp_path}/spend.db"}[kind]
    with Serving(ledger=where) as serving, Asking(serving.url) as ask:
        set_limits(ask, 100)
        hold(ask, "curl.1", 60)
        assert ask("POST", "/v1/ledger/sweep", {"hold_timeout": 900}).json() == 0
        assert ask("POST", "/v1/ledger/read", {"account": "g"}).json()[3][0][6] == 60
        ask("POST", "/v1/ledger/renew", {"owner": "curl", "seconds": 0})
        # By this sweep, or by the server's own: it may come first.
        ask("POST", "/v1/ledger/sweep", {"hold_timeout": 900})
        assert ask("POST", "/v1/ledger/read", {"account": "g"}).json()[3][0][6] == 0
        (charge,) = ask("GET", "/v1/uncertain").json()
        assert charge["id"] == "curl.1"


def test_the_event_loop_is_never_blocked_by_a_ledger(tmp_path: Path) -> None:
    """While requests wait for the ledger's lock, more of them than there are threads, others are answered."""
    with Serving(ledger=str(tmp_path), threads=4) as serving, Asking(serving.url) as ask:
        set_limits(ask, 100)
        ledger: Any = open_ledger(str(tmp_path), "default", fsync="background")

        def wait(number: int) -> None:
            with Asking(serving.url) as other:
                hold(other, f"a.{number}", 1)

        waiting = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
        with ledger._lock:
            for thread in waiting:
                thread.start()
            for _ in range(20):
                assert ask("GET", "/health/live", token=None).elapsed.total_seconds() < 1
        for thread in waiting:
            thread.join(20)
        assert ledger.read("g").slots[0].held == 8
