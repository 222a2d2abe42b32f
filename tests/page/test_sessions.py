"""Who may look at the page: a token is given once, guessed seldom, and its session is nobody else's and ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clocks import Clock
from serving import READER, TOKEN, Serving

from budgeted.page import ended_sessions, guesses, sessions
from budgeted.server.page_of_projects import TokenAccess
from budgeted.server.settings import ServerSettings


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[httpx2.Client]:
    """A client of a server with tokens, which keeps cookies and follows nothing."""
    with (
        Serving(ledger=str(tmp_path), tokens=(TOKEN,), read_tokens=(READER,)) as server,
        httpx2.Client(base_url=server.url, trust_env=False) as client,
    ):
        yield client


def log_in(client: httpx2.Client, token: str, to: str = "/") -> Any:
    return client.post("/page/login", params={"to": to}, data={"token": token})


def test_without_a_session_every_page_leads_to_the_login(browser: httpx2.Client) -> None:
    answer = browser.get("/page/user", params={"name": "a&b"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/page/login?to=%2Fpage%2Fuser%3Fname%3Da%2526b"
    assert browser.get("/page/events").status_code == 204


def test_a_token_opens_what_was_asked_for_and_is_not_in_the_cookie(browser: httpx2.Client) -> None:
    answer = log_in(browser, READER, "/page/users?prefix=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/page/users?prefix=a")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert READER not in cookie
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example/", "/\\evil.example", "evil", ""])
def test_nobody_is_led_elsewhere(browser: httpx2.Client, to: str) -> None:
    assert log_in(browser, TOKEN, to).headers["location"] == "/"


def test_after_ten_wrong_tokens_an_address_waits_and_a_right_one_is_not_looked_at(browser: httpx2.Client) -> None:
    assert [log_in(browser, f"wrong {number}").status_code for number in range(10)] == [401] * 10
    assert log_in(browser, TOKEN).status_code == 429


def test_guesses_are_forgotten_after_a_minute_and_by_a_right_one() -> None:
    clock = Clock()
    counted = guesses.Guesses(clock)
    assert [counted.may_guess("a") for _ in range(11)] == [True] * 10 + [False]
    assert counted.may_guess("b")
    clock.now += 61
    assert [counted.may_guess("a") for _ in range(9)] == [True] * 9
    counted.was_right("a", forget=True)
    assert [counted.may_guess("a") for _ in range(10)] == [True] * 10


def test_a_token_that_opens_little_does_not_let_its_holder_guess_others_for_longer() -> None:
    counted = guesses.Guesses(Clock())
    assert [counted.may_guess("a") for _ in range(10)] == [True] * 10
    counted.was_right("a", forget=False)
    assert [counted.may_guess("a") for _ in range(2)] == [True, False]


def test_a_session_ends_after_twelve_hours_and_with_its_token() -> None:
    clock = Clock()
    access = TokenAccess(ServerSettings(tokens=(TOKEN,)))
    mine = sessions.Sessions(access, clock)
    begun = mine.begin(TOKEN)
    cookie = mine.cookie(begun)
    assert mine.of_cookie(cookie) == begun
    assert sessions.Sessions(access, clock).of_cookie(cookie) == begun  # after a restart
    assert sessions.Sessions(TokenAccess(ServerSettings(tokens=("another",))), clock).of_cookie(cookie) is None
    clock.now += sessions.SECONDS + 1
    assert mine.of_cookie(cookie) is None


def test_a_session_that_was_ended_is_so_for_whoever_has_copied_its_cookie(browser: httpx2.Client) -> None:
    log_in(browser, TOKEN)
    [(name, copied)] = [(one.name, one.value) for one in browser.cookies.jar]
    [form_token] = re.findall(r'name="form_token" value="([^"]+)"', browser.get("/").text)[:1]
    with httpx2.Client(base_url=browser.base_url, trust_env=False, cookies={name: copied or ""}) as thief:
        assert thief.get("/").status_code == 200
        answer = browser.post("/page/logout", data={"form_token": form_token})
        assert (answer.status_code, answer.headers["location"]) == (303, "/page/login")
        assert thief.get("/").headers["location"] == "/page/login?to=%2F"
        assert thief.get("/page/events").status_code == 204
    log_in(browser, TOKEN)
    assert browser.get("/").status_code == 200


def test_ended_sessions_are_kept_in_mind_until_they_would_have_ended_and_only_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ended_sessions, "MOST", 100)
    clock = Clock()
    ended = ended_sessions.EndedSessions(clock)
    ended.add("short", int(clock()) + 10)
    for number in range(100):
        ended.add(f"long {number}", int(clock()) + 1000)
    assert "short" not in ended
    clock.now += 1001
    ended.add("another", int(clock()) + 10)
    assert "long 99" not in ended
    assert "another" in ended


def test_a_server_may_have_its_sessions_last_shorter() -> None:
    clock = Clock()
    access = TokenAccess(ServerSettings(tokens=(TOKEN,), session_seconds=600), clock)
    mine = sessions.Sessions(access, clock)
    cookie = mine.cookie(mine.begin(TOKEN))
    clock.now += 599
    assert mine.of_cookie(cookie) is not None
    clock.now += 1
    assert mine.of_cookie(cookie) is None
    for wrong in (0, 12 * 3600 + 1):
        with pytest.raises(ValueError, match="session_seconds must be"):
            ServerSettings(session_seconds=wrong)


@pytest.mark.parametrize(
    "change",
    [lambda text: text[:-1], lambda text: "x" + text, lambda text: text.replace(".", "")],
    ids=["cut off", "longer", "in one piece"],
)
def test_a_cookie_that_somebody_wrote_is_none(change: Any) -> None:
    mine = sessions.Sessions(TokenAccess(ServerSettings(tokens=(TOKEN,), read_tokens=(READER,))), Clock())
    begun = mine.begin(READER)
    assert begun.role == "read"
    assert mine.of_cookie(change(mine.cookie(begun))) is None
    assert mine.of_cookie(mine.signed("told", b'["write",9999999999,"x"]')) is None
    assert mine.of_cookie("é" * 10) is None


def test_every_answer_keeps_to_itself(browser: httpx2.Client) -> None:
    log_in(browser, TOKEN)
    for path in ("/", "/page/users", "/page/login", "/page/static/page.css", "/page/static/nothing.css"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
    assert browser.get("/page/static/..%2fapplication.py").status_code == 404


def test_the_head_of_a_stream_is_answered_at_once_and_leaves_none_open(browser: httpx2.Client) -> None:
    browser.post("/page/login", data={"token": TOKEN})
    for _ in range(3):
        assert browser.head("/page/events?at=/").status_code == 200
        assert browser.get("/").status_code == 200  # over the same connection


def test_without_tokens_a_name_that_leads_here_is_refused(tmp_path: Path) -> None:
    with Serving(ledger=str(tmp_path)) as server, httpx2.Client(base_url=server.url, trust_env=False) as client:
        assert client.get("/").status_code == 200
        assert client.get("/", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("path", ["/page/login", "/page/logout"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{}", "application/json"),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded"),
        (b"&".join([b"a=1"] * 101), "application/x-www-form-urlencoded"),
    ],
    ids=["no form", "too long", "too many fields"],
)
def test_what_is_no_form_is_told_as_that(browser: httpx2.Client, path: str, content: bytes, kind: str) -> None:
    answer = browser.post(path, content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert "This form cannot be read" in answer.text
