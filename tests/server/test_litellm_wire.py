"""LiteLLM's hosted budgets: its own client against our server, and ours against any server of its protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from serving import READER, TOKEN, Asking, Serving

from budgeted import BudgetManager, LedgerError, LedgerUnavailableError
from budgeted.ledger.opening import open_ledger

PROJECT = "their-app"

LITELLM = """
    import json, os, sys, threading
    from litellm import BudgetManager

    def manager(token=None):
        headers = {"Authorization": f"Bearer {token or sys.argv[2]}"}
        return BudgetManager(project_name="their-app", client_type="hosted", api_base=sys.argv[1], headers=headers)

    def saved():
        for thread in threading.enumerate():  # it saves in threads
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()

    for line in sys.stdin:
        program, *sys.argv[1:] = json.loads(line)
        if not os.fork():
            exec(program)
            sys.exit()
        print("ended", os.wait()[1], flush=True)
"""


@pytest.fixture(scope="module")
def litellm() -> Iterator[Callable[..., Any]]:
    """Runs a program with LiteLLM's own manager at hand, in a process of its own; returns what it printed, as JSON.

    Each is forked by a process that has imported LiteLLM, which takes longer than all of them.
    """
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONWARNINGS": ""}
    command = [sys.executable, "-c", textwrap.dedent(LITELLM)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]

        def run(program: str, url: str, token: str = TOKEN) -> Any:
            print(json.dumps([textwrap.dedent(program), url, token]), file=process.stdin, flush=True)
            printed = []
            while not (line := process.stdout.readline()).startswith("ended "):
                assert line
                printed.append(line)
            assert line == "ended 0\n"
            return json.loads(printed[-1])

        yield run


# -- LiteLLM's client, our server


@pytest.mark.slow
def test_litellms_own_manager_keeps_its_budgets_here(
    litellm: Callable[..., Any], serving: Serving, ask: Asking
) -> None:
    first = litellm(
        """
        one = manager()
        assert one.get_users() == []
        one.create_budget(total_budget=10, user="alice", duration="monthly")
        one.create_budget(total_budget=2, user="bob")
        for text in ("hello", "and again"):
            one.update_cost(user="alice", model="gpt-4o", input_text=text, output_text="Hi! " * 50)
        one.update_cost(user="alice", model="gpt-4o-mini", input_text="hi", output_text="ho")
        saved()
        print(json.dumps([one.user_dict, one.save_data()]))
        """,
        serving.url,
    )
    mine, answer = first
    assert answer["status"] == "success"
    second = litellm(
        """
        two = manager()
        assert two.is_valid_user("alice") and not two.is_valid_user("carl")
        two.update_budget_all_users()
        costs = [two.get_current_cost("alice"), two.get_model_cost("alice"), two.get_total_budget("bob")]
        users = json.loads(json.dumps(two.user_dict))
        two.reset_cost("alice")
        two.save_data()
        print(json.dumps([users, costs]))
        """,
        serving.url,
    )
    theirs, (cost, models, total) = second
    assert cost == pytest.approx(mine["alice"]["current_cost"], abs=1e-9)
    assert models == pytest.approx(mine["alice"]["model_cost"], abs=1e-9)
    assert total == 2
    assert theirs["alice"].keys() == mine["alice"].keys()
    assert (theirs["alice"]["total_budget"], theirs["alice"]["duration"]) == (10, mine["alice"]["duration"])
    assert theirs["alice"]["created_at"] == int(mine["alice"]["created_at"])
    # What it recorded is in the same books as everything else.
    report = ask("GET", "/v1/report", params={"project": PROJECT, "by": "model"}).json()
    assert report.keys() == {"gpt-4o", "gpt-4o-mini"}
    assert report["gpt-4o"]["spent"] == pytest.approx(mine["alice"]["model_cost"]["gpt-4o"], abs=1e-9)
    assert ask("GET", "/v1/balances", params={"project": PROJECT, "user": "alice"}).json()[0]["spent"] == 0


@pytest.mark.slow
def test_litellms_manager_is_told_when_its_token_is_wrong(litellm: Callable[..., Any], serving: Serving) -> None:
    told = litellm(
        """
        try:
            manager("wrong")
        except Exception as error:
            print(json.dumps([type(error).__name__, getattr(error, "status_code", None)]))
        """,
        serving.url,
    )
    assert told == ["HTTPStatusError", 401]
    assert litellm("print(json.dumps(manager().user_dict))", serving.url, READER) == {}


def set_budget(ask: Asking, **records: Any) -> None:
    answer = ask("POST", "/set_budget", {"project_name": PROJECT, "user_dict": records})
    assert answer.json() == {"status": "success"}, answer.text


def get_budget(ask: Asking) -> Any:
    return ask("POST", "/get_budget", {"project_name": PROJECT}).json()


def record(cost: float, **models: float) -> dict[str, Any]:
    return {"total_budget": 5, "current_cost": cost, "model_cost": models}


def test_a_project_without_users_is_an_error_as_litellm_expects_it(ask: Asking) -> None:
    assert get_budget(ask)["status"] == "error"
    set_budget(ask)
    assert get_budget(ask)["status"] == "error"


def test_what_is_set_is_what_one_gets_however_often(ask: Asking) -> None:
    users = {"alice": record(0.75, a=0.5, b=0.25), "bob": {"total_budget": 1, "current_cost": 0, "model_cost": {}}}
    for _ in range(3):
        set_budget(ask, **users)
        assert get_budget(ask) == {"status": "success", "data": users}
    [balance] = ask("GET", "/v1/balances", params={"project": PROJECT, "user": "alice"}).json()
    assert (balance["spent"], balance["limit"]) == (0.75, 5)


def spent_by(ask: Asking, by: str) -> dict[str, float]:
    rows = ask("GET", "/v1/report", params={"project": PROJECT, "by": by}).json()
    return {name: row["spent"] for name, row in rows.items()}


def test_what_a_record_has_more_is_charged_and_one_that_has_less_was_reset(
    ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget(ask, alice=record(0.5, a=0.5))
    set_budget(ask, alice=record(0.75, a=0.5, b=0.25))
    assert spent_by(ask, "model") == {"a": 0.5, "b": 0.25}
    monkeypatch.setattr("budgeted.ledger.litellm_hosted.user_dict.LATE_SECONDS", 0)
    set_budget(ask, alice=record(0.125, b=0.125))
    assert get_budget(ask)["data"]["alice"] == record(0.125, b=0.125)
    assert spent_by(ask, "user") == {"alice": 0.875}  # a reset forgets nothing that was spent
    set_budget(ask, alice=record(0))
    assert get_budget(ask)["data"]["alice"] == record(0)
    assert spent_by(ask, "user") == {"alice": 0.875}


def test_a_dictionary_that_comes_after_a_newer_one_charges_nothing_twice(ask: Asking) -> None:
    states = [record(0.25, a=0.25), record(0.5, a=0.5), record(1, a=0.5, b=0.5), record(1.5, a=0.75, b=0.75)]
    for number in (0, 2, 1, 3, 2, 0, 3):
        set_budget(ask, alice=states[number])
        assert get_budget(ask)["data"]["alice"]["current_cost"] == states[number]["current_cost"]
        assert sum(spent_by(ask, "model").values()) == states[number]["current_cost"]
    assert get_budget(ask)["data"]["alice"] == states[3]
    assert spent_by(ask, "user") == {"alice": 1.5}


def test_charges_that_litellm_reports_count_in_the_limits_of_everybody(ask: Asking) -> None:
    ask("PUT", "/v1/limits", {"limits": ["$1/day"]}, params={"project": PROJECT})
    set_budget(ask, alice=record(0.75, a=0.75))
    assert ask("GET", "/v1/balances", params={"project": PROJECT}).json()[0]["spent"] == 0.75


def test_users_that_an_old_dictionary_lacks_keep_their_budgets(ask: Asking) -> None:
    set_budget(ask, alice=record(0.5), bob=record(0.25))
    set_budget(ask, alice=record(0.75))
    assert get_budget(ask)["data"]["bob"]["current_cost"] == 0.25


def test_limits_that_litellm_does_not_know_are_kept(ask: Asking) -> None:
    ask("PUT", "/v1/limits", {"user": "alice", "limits": ["$5/month", "60 calls/minute"]}, params={"project": PROJECT})
    sent = get_budget(ask)["data"]["alice"]
    assert sent["duration"] == 30
    set_budget(ask, alice={**sent, "total_budget": 7, "current_cost": 0.5})
    texts = [one["text"] for one in ask("GET", "/v1/balances", params={"project": PROJECT, "user": "alice"}).json()]
    assert texts == ["$7/month", "60 calls/minute"]


def test_a_period_that_litellm_began_is_kept_and_ends_by_itself(ask: Asking) -> None:
    began = 1.7e9
    sent = {"total_budget": 5, "duration": 7, "created_at": began, "last_updated_at": began, "current_cost": 0}
    set_budget(ask, alice=sent)
    [balance] = ask("GET", "/v1/balances", params={"project": PROJECT, "user": "alice"}).json()
    assert (
        balance["text"] == "$5/week from 2023-11-14T22:13:20Z" or "7 days from 2023-11-14T22:13:20Z" in balance["text"]
    )
    got = get_budget(ask)["data"]["alice"]
    assert (got["created_at"], got["duration"]) == (began, 7)
    assert (got["last_updated_at"] - began) % (7 * 86_400) == 0
    set_budget(ask, alice=got)
    assert get_budget(ask)["data"]["alice"] == got


@pytest.mark.slow
def test_threads_that_save_at_once_leave_what_one_of_them_sent(ask: Asking, serving: Serving) -> None:
    def save(number: int) -> None:
        with Asking(serving.url) as other:
            for _ in range(5):
                set_budget(other, alice=record(0.5), bob=record(0.25 * number))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = get_budget(ask)["data"]
    assert found["alice"]["current_cost"] == 0.5
    assert found["bob"]["current_cost"] in [0.25 * number for number in range(8)]


# -- our client, any server


class Theirs(BaseHTTPRequestHandler):
    """The protocol in its shortest form: a dictionary by project."""

    stored: ClassVar[dict[str, Any]]
    failing: ClassVar[list[int]]
    seen: ClassVar[list[Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.path, self.headers["x-key"]))
        if self.failing:
            self.send_response(self.failing.pop())
            self.send_header("content-length", "0")
            self.end_headers()
            return
        answer: dict[str, Any] = {"status": "success"}
        if self.path == "/set_budget":
            self.stored[body["project_name"]] = body["user_dict"]
        elif body["project_name"] in self.stored:
            answer["data"] = self.stored[body["project_name"]]
        else:
            answer["status"] = "error"
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture
def theirs() -> Iterator[str]:
    Theirs.stored, Theirs.failing, Theirs.seen = {}, [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Theirs)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def hosted(url: str, **settings: Any) -> BudgetManager:
    return BudgetManager(PROJECT, "hosted", url, {"x-key": "secret"}, **settings)


def test_a_hosted_manager_keeps_users_at_any_server_of_the_protocol(theirs: str) -> None:
    with hosted(theirs) as manager:
        manager.create_budget(10, "alice", "daily")
        manager.create_budget(1, "bob")
        with manager.hold(cost=0.25, user="alice") as held:
            held.settle(cost=0.25)
        assert manager.save_data() == {"status": "success"}
        kept = Theirs.stored[PROJECT]
        assert kept == manager.user_dict
        assert (kept["alice"]["total_budget"], kept["alice"]["current_cost"]) == (10, 0.25)
    with hosted(theirs) as again:
        assert again.user_dict == kept
        assert again.balance("alice").remaining == 9.75
        again.delete_user("bob")
    assert Theirs.stored[PROJECT].keys() == {"alice"}
    assert {key for _, key in Theirs.seen} == {"secret"}


def test_hosted_limits_are_enforced_over_restarts(theirs: str) -> None:
    for _ in range(2):
        with hosted(theirs, max_budget=1) as manager:
            manager.create_budget(0.75, "alice")
            with manager.hold(cost=0.375, user="alice") as held:
                held.settle(cost=0.375)
    with hosted(theirs, max_budget=1) as manager:
        assert manager.balance("alice").remaining == 0
        assert manager.balance().spent == 0.75  # it begins with what its users have spent


def test_our_hosted_manager_and_our_server_understand_each_other(serving: Serving) -> None:
    url = serving.url.replace("http://", f"http://{TOKEN}@")
    with BudgetManager(PROJECT, "hosted", url) as manager:
        manager.create_budget(10, "alice", "weekly")
        with manager.hold(cost=0.25, user="alice") as held:
            held.settle(cost=0.25)
    with BudgetManager(PROJECT, "hosted", url) as again:
        assert again.get_current_cost("alice") == 0.25
        assert again.balance("alice").remaining == 9.75


def test_a_server_that_is_away_is_told_and_what_changed_is_sent_when_it_is_back(theirs: str) -> None:
    with hosted(theirs) as manager:
        manager.create_budget(10, "alice")
        manager.flush()
        manager.create_budget(20, "alice")
        Theirs.failing = [500]
        with pytest.raises(LedgerUnavailableError, match="status 500"):
            manager.flush()
        assert Theirs.stored[PROJECT]["alice"]["total_budget"] == 10
        manager.flush()
        assert Theirs.stored[PROJECT]["alice"]["total_budget"] == 20


def test_a_charge_is_sent_though_nothing_else_has_changed(theirs: str) -> None:
    with hosted(theirs) as manager:
        manager.create_budget(10, "alice")
        manager.flush()
        for spent in (0.25, 0.5):
            with manager.hold(cost=1, user="alice") as held:
                held.settle(cost=0.25)
            manager.flush()
            assert Theirs.stored[PROJECT]["alice"]["current_cost"] == spent


def test_what_a_server_lacks_at_the_end_is_told_with_amounts_and_users(theirs: str) -> None:
    manager = hosted(theirs)
    for count, user in enumerate(("alice", "bob")):
        with manager.hold(cost=1, user=user) as held:
            held.settle(cost=0.25)
        if not count:
            manager.flush()
    Theirs.failing = [500] * 100
    with pytest.raises(LedgerUnavailableError, match=r"status 500.* It lacks .*: \$0\.25 of 'bob'$"):
        manager.close()


@pytest.mark.slow
def test_a_process_that_ends_while_the_server_is_away_tells_what_it_lacks(theirs: str) -> None:
    program = f"""
        import sys
        from budgeted import BudgetManager
        manager = BudgetManager({PROJECT!r}, "hosted", sys.argv[1], {{"x-key": "secret"}})
        with manager.hold(cost=1, user="alice") as held:
            held.settle(cost=0.25)
        manager.flush()
        print("ready", flush=True)
        sys.stdin.readline()
        with manager.hold(cost=1, user="alice") as held:
            held.settle(cost=0.5)
    """
    code = [sys.executable, "-c", textwrap.dedent(program), theirs]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(code, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        Theirs.failing = [500] * 100
        _, told = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert "It lacks what was charged since it was told last: $0.50 of 'alice'" in told


def test_a_call_that_ends_after_a_hosted_manager_was_closed_is_charged_by_the_next(theirs: str) -> None:
    first = hosted(theirs)
    first.create_budget(10, "alice")
    with first.hold(cost=1, user="alice") as held:
        first.close()
        held.settle(cost=0.25)
    with hosted(theirs) as second:
        assert second.get_current_cost("alice") == 0.25
    assert Theirs.stored[PROJECT]["alice"]["current_cost"] == 0.25


def test_a_server_of_something_else_is_told(theirs: str) -> None:
    Theirs.failing = [404]
    with pytest.raises(LedgerError, match="status 404"):
        hosted(theirs)
    Theirs.stored[PROJECT] = {"alice": {"total_budget": "lots"}}
    with pytest.raises(LedgerError, match="lots"):
        hosted(theirs)
    with pytest.raises(LedgerUnavailableError, match="is not available"):
        hosted("http://127.0.0.1:1")


@pytest.mark.parametrize("settings", [{"api_base": None}, {"api_base": "https://x", "ledger": "memory://"}])
def test_hosted_budgets_need_a_place_and_only_one(settings: Any) -> None:
    with pytest.raises(ValueError, match="write api_base="):
        BudgetManager(PROJECT, "hosted", **settings)


def test_a_forked_child_may_not_write_what_its_parent_writes(theirs: str) -> None:
    with hosted(theirs) as manager:
        manager.create_budget(10, "alice")
        manager.flush()
        pid = os.fork()
        if pid == 0:  # pragma: no cover - another process
            try:
                manager.create_budget(20, "alice")
            except LedgerError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_one_path_is_one_ledger_also_for_the_server(serving: Serving, ask: Asking, tmp_path: Any) -> None:
    """The server and processes of its host may share a directory."""
    set_budget(ask, alice=record(0.5, a=0.5))
    ledger = open_ledger(tmp_path / "served", PROJECT, fsync="background")
    account = ledger.read("u:alice")
    assert account is not None
    assert account.usd == 500_000_000
