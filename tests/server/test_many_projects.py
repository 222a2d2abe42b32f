"""A server has only so many projects open: of more, those are closed that nobody uses, and come back as they were."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from serving import TOKEN, Asking, Serving

from budgeted import BudgetManager

ROUTE = {"legs": [["g", [["usd", 0, 2**62]]]], "versions": [1], "day": 20_000, "provider": "p", "model": "m"}


def limit(ask: Asking, project: str) -> Any:
    body = {"account": "g", "limits": [["usd", 0, 100, 0, 2**62]]}
    return ask("POST", "/v1/ledger/set_limits", body, params={"project": project})


def hold(ask: Asking, project: str, id: str) -> Any:
    body = {"id": id, "route": ROUTE, "ask": {"usd": 60}, "at": int(time.time())}
    return ask("POST", "/v1/ledger/hold", body, params={"project": project})


def account(ask: Asking, project: str) -> Any:
    return ask("POST", "/v1/ledger/read", {"account": "g"}, params={"project": project}).json()


@pytest.fixture(params=["journal", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"journal": str(tmp_path / "served"), "sqlite": f"sqlite:///{tmp_path}/spend.db"}[request.param]


def test_every_new_name_is_served_and_every_old_one_finds_its_state(place: str) -> None:
    names = [f"project-{number}" for number in range(12)]
    with Serving(ledger=place, max_projects=3, tokens=(TOKEN,)) as serving, Asking(serving.url) as ask:
        for name in names:
            assert limit(ask, name).status_code == 200
            hold(ask, name, "a.1")
            ask("POST", "/v1/ledger/settle", {"id": "a.1", "used": [40], "at": 1}, params={"project": name})
        for number, name in enumerate((*names, *reversed(names))):
            assert account(ask, name)[4] == 40
            assert hold(ask, name, f"a.{number + 2}").status_code == 200
            body = {"id": f"a.{number + 2}", "at": 1}
            assert ask("POST", "/v1/ledger/release", body, params={"project": name}).json() is True


def test_what_is_in_flight_stays_open_and_is_never_charged_for_it(place: str) -> None:
    with Serving(ledger=place, max_projects=2, tokens=(TOKEN,)) as serving, Asking(serving.url) as ask:
        limit(ask, "held")
        hold(ask, "held", "a.1")
        for number in range(6):
            assert limit(ask, f"other-{number}").status_code == 200
        assert ask("GET", "/v1/uncertain", params={"project": "held"}).json() == []
        settled = ask("POST", "/v1/ledger/settle", {"id": "a.1", "used": [40], "at": 1}, params={"project": "held"})
        assert settled.json() is True
        assert account(ask, "held")[4] == 40


def test_a_new_name_is_refused_only_while_all_have_calls_in_flight(place: str) -> None:
    with Serving(ledger=place, max_projects=2, tokens=(TOKEN,)) as serving, Asking(serving.url) as ask:
        for name in ("one", "two"):
            limit(ask, name)
            hold(ask, name, "a.1")
        refused = limit(ask, "three")
        assert refused.status_code == 503
        assert "calls in flight" in refused.json()["error"]["message"]
        ask("POST", "/v1/ledger/release", {"id": "a.1", "at": 1}, params={"project": "one"})
        assert limit(ask, "three").status_code == 200


def test_whoever_keeps_a_lease_keeps_his_project_open(tmp_path: Path) -> None:
    with Serving(ledger=str(tmp_path), max_projects=1, tokens=(TOKEN,)) as serving, Asking(serving.url) as ask:
        limit(ask, "leased")
        ask("POST", "/v1/ledger/renew", {"owner": "a", "seconds": 600}, params={"project": "leased"})
        assert limit(ask, "other").status_code == 503
        ask("POST", "/v1/ledger/renew", {"owner": "a", "seconds": 0}, params={"project": "leased"})
        assert limit(ask, "other").status_code == 200


def test_managers_of_the_same_process_keep_their_ledger(tmp_path: Path) -> None:
    with (
        Serving(ledger=str(tmp_path), max_projects=1, tokens=(TOKEN,)) as serving,
        Asking(serving.url) as ask,
        BudgetManager("mine", max_budget=1, ledger=str(tmp_path)) as manager,
    ):
        assert ask("GET", "/v1/balances", params={"project": "mine"}).json()[0]["limit"] == 1
        assert limit(ask, "other").status_code == 503
        with manager.hold(cost="0.25") as held:
            held.settle(cost="0.25")
        assert manager.balance().spent == 0.25


@pytest.mark.slow
def test_threads_that_ask_for_more_names_than_may_be_open_all_get_their_own(place: str) -> None:
    problems: list[Any] = []

    def work(number: int, url: str, names: list[str]) -> None:
        with Asking(url) as ask:
            for turn in range(10):
                name = names[(number + turn) % len(names)]
                id = f"t{number}.{turn}"
                answer = hold(ask, name, id)
                if answer.status_code == 200:
                    body = {"id": id, "used": [1], "at": 1}
                    answer = ask("POST", "/v1/ledger/settle", body, params={"project": name})
                    if answer.json() is not True:
                        problems.append(answer.text)
                elif answer.status_code not in (402, 503):
                    problems.append(answer.text)

    names = [f"name-{number}" for number in range(6)]
    with Serving(ledger=place, max_projects=4, tokens=(TOKEN,)) as serving, Asking(serving.url) as ask:
        for name in names:
            limit(ask, name)
        threads = [threading.Thread(target=work, args=(number, serving.url, names)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        for name in names:
            spent, held = account(ask, name)[4], account(ask, name)[7]
            assert held == 0
            report = ask("GET", "/v1/report", params={"project": name, "by": "model"}).json()
            assert sum(row["calls"] for row in report.values()) == spent
            assert ask("GET", "/v1/uncertain", params={"project": name}).json() == []
