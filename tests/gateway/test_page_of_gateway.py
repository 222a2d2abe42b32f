"""The page of a gateway: who is shown it, and how little a key's holder sees of others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from clocks import DAY, Clock
from gateways import gateway
from key_requests import ENVIRONMENT, books_of, key_for
from serving import READER, TOKEN
from started_gateway import Started
from visiting import ACCEPT, Visitor

from budgeted import BudgetExceededError, BudgetManager
from budgeted.errors import LedgerUnavailableError
from budgeted.gateway.application import create_gateway
from budgeted.gateway.callers import OpenCallers
from budgeted.gateway.key_books import KeyBooks
from budgeted.gateway.key_callers import KeyCallers
from budgeted.gateway.late_start import LateStart
from budgeted.gateway.page_access import GatewayAccess
from budgeted.gateway.settings import GatewaySettings
from budgeted.gateway.stated_gateway import stated_gateway
from budgeted.http_server.tokens import Tokens
from budgeted.page.sources import NotLetInError
from budgeted.page.views import OWN, VIEWS

HOSTILE = ("<script>alert(1)</script>", '"; DROP TABLE', "\u202eecila", "ü/?#%&amp;", "x" * 256)
STRANGER = "mallory-the-stranger"
BROWSER = {"accept": ACCEPT}
FORGED = {"form_token": "of nobody"}
OTHERS = [path for path, view in VIEWS.items() if not view.own and view.show is not None]
FORMS = [path for path, view in VIEWS.items() if view.act is not None]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("shop", ledger="memory://", max_budget="$77/day", clock=clock) as made:
        made.set_limits(STRANGER, "$31/day")
        spend(made, 7, STRANGER)
        yield made


@pytest.fixture
def url(manager: BudgetManager) -> Iterator[str]:
    """A gateway that wants keys, and has tokens."""
    tokens = {"BUDGETED_TOKEN": TOKEN, "BUDGETED_READ_TOKEN": READER}
    with gateway(manager, GatewaySettings(), KeyCallers(manager, ENVIRONMENT), tokens) as address:
        yield address


@pytest.fixture
def open_url(manager: BudgetManager) -> Iterator[str]:
    with gateway(manager, GatewaySettings(open=True)) as address:
        yield address


def spend(manager: BudgetManager, usd: float, user: str) -> None:
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)


def logged_in(url: str, token: str) -> Any:
    return httpx2.post(f"{url}/page/login", data={"token": token}, trust_env=False)


# -- who gets the page


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (ACCEPT, True),
        ("text/html", True),
        ("application/json;q=0.5, text/html;q=0.9", True),
        ("*/*", False),
        ("application/json, text/plain, */*", False),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=nonsense", False),
        ("", False),
    ],
)
def test_at_the_root_a_browser_gets_the_page_and_a_program_what_it_got_before(
    open_url: str, accept: str, is_page: bool
) -> None:
    answer = httpx2.get(open_url, headers={"accept": accept}, trust_env=False)
    assert answer.status_code == 200
    assert ("Limits of everything together" in answer.text) is is_page
    assert is_page or answer.json() == {"service": "budgeted gateway"}


def test_what_is_below_the_page_and_is_not_there_is_told_as_a_page(open_url: str) -> None:
    answer = httpx2.get(f"{open_url}/page/nothing", trust_env=False)
    assert (answer.status_code, "nothing is at this address" in answer.text) == (404, True)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_no_upstream_is_called_as_the_page_is() -> None:
    with pytest.raises(ValueError, match="--upstream: no upstream can be called 'page'"):
        stated_gateway({"BUDGETED_CONFIG": "/dev/null"}, {"upstreams": ("page=https://api.example.com",)})


def test_a_key_in_the_address_of_a_page_is_refused(manager: BudgetManager, url: str) -> None:
    text, _ = key_for(manager, "alice")
    for query in ({"name": text}, {"token": text}, {"key": "anything"}):
        answer = httpx2.get(f"{url}/page/user", params=query, trust_env=False)
        assert answer.status_code == 400
        assert "a key in an address ends up in logs" in answer.text
        assert text not in answer.text


# -- without tokens


def test_an_open_gateway_lets_this_machine_look_and_change(manager: BudgetManager, open_url: str) -> None:
    with Visitor(open_url) as visitor:
        preview = visitor.send(visitor.get("/page/limits", account="alice").form("/page/limits"), text="$3/day")
        assert "no limits" not in visitor.send(preview.form("/page/limits"), 303).text
    assert manager.balance("alice").limit == 3


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"x-forwarded-for": "203.0.113.7"}, {"origin": "https://evil.example"}],
    ids=["another name", "a proxy", "a page of a stranger"],
)
def test_an_open_gateway_shows_nothing_to_others(open_url: str, headers: dict[str, str]) -> None:
    for path in ("/", "/page/users", "/page/login"):
        answer = httpx2.get(open_url + path, headers={**BROWSER, **headers}, trust_env=False)
        assert answer.status_code == 403
        assert STRANGER not in answer.text


def test_a_gateway_with_keys_and_no_tokens_shows_nobody_everything(manager: BudgetManager) -> None:
    with gateway(manager, GatewaySettings(), KeyCallers(manager, {**ENVIRONMENT})) as url:
        for path in ("/", *OTHERS):
            answer = httpx2.get(url + path, headers=BROWSER, trust_env=False)
            assert (answer.status_code, answer.headers["location"][:11]) == (303, "/page/login")
        assert logged_in(url, "").status_code == 401
        assert logged_in(url, "bk-nothing").status_code == 401
        with Visitor(url, key_for(manager, "alice")[0]) as visitor:
            assert "alice" in visitor.get("/").text


def test_before_there_is_a_secret_nobody_is_let_in(manager: BudgetManager, tmp_path: Path) -> None:
    access = GatewayAccess(Tokens(), KeyCallers(manager, {"BUDGETED_HOME": str(tmp_path)}), is_open=False)
    assert not access.open
    for token in (None, "", "bk-", "bk-abc", TOKEN):
        with pytest.raises(NotLetInError):
            access.visitor(token)


# -- with a token


def test_a_token_shows_everything_and_changes_it(manager: BudgetManager, url: str) -> None:
    with Visitor(url, TOKEN) as visitor:
        assert STRANGER in visitor.get("/").text
        form = visitor.get("/page/user", name=STRANGER).form("/page/stop")
        assert visitor.post(form, **FORGED).status_code == 403
        visitor.send(visitor.send(form, reason="enough").form("/page/stop"), 303)
    assert [one.stopped for one in manager.accounts(STRANGER)] == ["enough"]


def test_a_token_to_read_changes_nothing(manager: BudgetManager, url: str) -> None:
    with Visitor(url, TOKEN) as writer, Visitor(url, READER) as reader:
        form = writer.get("/page/user", name=STRANGER).form("/page/stop")
        shown = reader.get("/page/user", name=STRANGER)
        assert [one.action for one in shown.forms] == ["/page/logout"]
        assert reader.post(form, form_token=shown.form("/page/logout").fields["form_token"]).status_code == 403
    assert [one.stopped for one in manager.accounts(STRANGER)] == [""]


def test_who_logs_out_is_asked_again(url: str) -> None:
    with Visitor(url, TOKEN) as visitor:
        visitor.send(visitor.get("/").form("/page/logout"), 303)
        assert visitor.client.get("/").headers["location"].startswith("/page/login")


# -- with a key


@pytest.fixture
def holder(manager: BudgetManager, url: str) -> Iterator[Visitor]:
    """Somebody with a key of alice's."""
    manager.set_limits("alice", "$5/day", "9 calls/day")
    spend(manager, 2, "alice")
    with Visitor(url, key_for(manager, "alice", name="laptop")[0]) as visitor:
        yield visitor


def test_a_key_shows_what_its_user_has_left_and_may_only_look(holder: Visitor) -> None:
    page = holder.get("/")
    for text in ("alice", "$5/day", "$3.00 left", "8 calls left", "You may only look"):
        assert text in page.text
    assert [form.action for form in page.forms] == ["/page/logout"]
    assert set(page.links) == {"To the content", "budgeted", "Your budget", "Keys of the gateway"}


@pytest.mark.parametrize("path", OTHERS)
def test_a_key_leads_from_every_other_page_to_its_own(holder: Visitor, path: str) -> None:
    for query in ({}, {"name": STRANGER}, {"account": STRANGER}, {"prefix": "m"}, {"project": "default"}):
        answer = holder.client.get(path, params=query)
        assert (answer.status_code, answer.headers["location"]) == (303, OWN)
        assert holder.client.get("/page/events", params={"at": f"{path}?{httpx2.QueryParams(query)}"}).content in (
            b"",
            b"retry: 1000\n\n",
        )


@pytest.mark.parametrize("path", [path for path, view in VIEWS.items() if view.own])
def test_a_key_shows_nothing_of_a_stranger(holder: Visitor, path: str) -> None:
    for query in (f"name={STRANGER}", f"name=alice&name={STRANGER}", "name=", "name=Alice", "name=alice%20"):
        answer = holder.client.get(f"{path}?{query}")
        assert answer.status_code == 403
        assert "mallory" not in answer.text
        events = holder.client.get("/page/events", params={"at": f"{path}?{query}"})
        assert (events.status_code, events.content) == (200, b"retry: 1000\n\n")
    both = holder.client.get(f"{path}?name={STRANGER}&name=alice").text
    assert "mallory" not in both
    assert "$31" not in both


def test_a_key_changes_nothing(holder: Visitor, manager: BudgetManager) -> None:
    token = holder.get("/").form("/page/logout").fields["form_token"]
    for path in FORMS:
        fields = {"form_token": token, "agreed": "1", "account": "alice", "text": "$900", "amount": "5", "seen": ""}
        assert holder.client.post(path, data=fields).status_code == 403
    assert [balance.text for balance in manager.balances("alice")] == ["$5/day", "9 calls/day"]
    assert [one.stopped for one in manager.accounts("alice")] == [""]


def test_a_key_sees_no_figures_of_a_team_that_pays_as_well(holder: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("team:search", "$41/day")
    books_of(manager).assign("alice", "team:search")
    page = holder.get("/")
    assert "pays for team:search as well" in page.text
    assert "$41" not in page.text
    assert "team:search" not in page.links


def test_of_calls_that_were_refused_a_key_sees_those_of_its_user_alone(holder: Visitor, manager: BudgetManager) -> None:
    for user in (STRANGER, "alice"):
        with pytest.raises(BudgetExceededError), manager.hold(cost=60, user=user):
            pass
    page = holder.get("/")
    assert "$5/day has $3.00 left" in page.text
    assert "mallory" not in page.text
    assert "$31" not in page.text


def test_a_key_draws_what_its_user_has_spent_and_no_other(holder: Visitor) -> None:
    mine = holder.client.get("/page/user.svg")
    assert (mine.status_code, mine.headers["content-type"]) == (200, "image/svg+xml")
    assert mine.content == holder.client.get("/page/user.svg", params={"name": "alice"}).content
    assert holder.client.get("/page/user.svg", params={"name": STRANGER}).status_code == 403
    assert holder.client.get("/page/spend.svg", params={"by": "user"}).status_code == 303


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_user_of_a_key_is_text(manager: BudgetManager, url: str, name: str) -> None:
    manager.set_limits(name, "$2")
    with Visitor(url, key_for(manager, name)[0]) as visitor:
        page = visitor.get("/")
        assert page.tags.count("script") == 1
        assert " ".join(name.split()) in page.text
        assert "$2.00 left" in page.text
        assert visitor.client.get(OWN, params={"name": name}).status_code == 200


def test_a_user_who_has_made_no_call_yet_is_told_that(manager: BudgetManager, url: str) -> None:
    with Visitor(url, key_for(manager, "newcomer")[0]) as visitor:
        assert "Nothing was spent here yet" in visitor.get("/").text


def test_what_a_key_shows_is_live(holder: Visitor, manager: BudgetManager) -> None:
    with holder.client.stream("GET", "/page/events", params={"at": OWN}) as answer:
        shown = (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
        assert "$3.00" in next(shown)
        spend(manager, 1, "alice")
        assert "$2.00" in next(shown)


@pytest.mark.parametrize("end", ["revoked", "deleted", "expired"])
def test_a_session_ends_with_its_key_at_the_next_look(manager: BudgetManager, url: str, clock: Clock, end: str) -> None:
    text, key = key_for(manager, "alice", expires=int(clock.now) + 3600)
    with Visitor(url, text) as visitor:
        visitor.get("/")
        ends: dict[str, Callable[[], object]] = {
            "revoked": lambda: KeyBooks(books_of(manager)).revoke(key.id, "it was in a public repository"),
            "deleted": lambda: books_of(manager).delete_user(f"tag:gateway-key={key.id}"),
            "expired": lambda: setattr(clock, "now", clock.now + DAY),
        }
        ends[end]()
        assert visitor.client.get(OWN).headers["location"].startswith("/page/login")
        assert visitor.client.get("/page/events", params={"at": OWN}).status_code == 204
    answer = logged_in(url, text)
    assert answer.status_code == 401
    assert {"revoked": "it was in a public repository", "expired": "has expired", "deleted": "not known"}[
        end
    ] in answer.text
    assert text not in answer.text


def test_a_session_of_another_gateway_with_the_same_secret_opens_nothing(manager: BudgetManager, url: str) -> None:
    with (
        BudgetManager("shop", ledger="memory://") as other,
        gateway(other, GatewaySettings(), KeyCallers(other, ENVIRONMENT)) as elsewhere,
        Visitor(elsewhere, key_for(other, STRANGER)[0]) as visitor,
    ):
        [(name, cookie)] = visitor.client.cookies.items()
        port = elsewhere.rpartition(":")[2], url.rpartition(":")[2]
        answer = httpx2.get(url + OWN, cookies={name.replace(*port): cookie}, trust_env=False)
        assert answer.headers["location"].startswith("/page/login")


def test_keys_of_other_projects_and_of_other_secrets_are_told_as_that(manager: BudgetManager, url: str) -> None:
    with BudgetManager("other", ledger="memory://") as other:
        assert "is of another project" in logged_in(url, key_for(other, "alice")[0]).text
    assert "another secret" in logged_in(url, key_for(manager, "alice", "of somebody else, and long enough")[0]).text


# -- keys on the page


def test_the_keys_of_a_user_are_listed_and_one_is_revoked_once_that_was_agreed_to(
    manager: BudgetManager, url: str
) -> None:
    text, key = key_for(manager, STRANGER, name="<b>laptop</b>", limits="$4/day", expires=2_000_000_000)
    other, _ = key_for(manager, STRANGER)
    key_for(manager, "bob", name="of-bob")
    with Visitor(url, TOKEN) as visitor:
        listed = visitor.get(visitor.get("/page/user", name=STRANGER).links["Keys of the gateway"])
        for shown in (key.id, "<b>laptop</b>", "$4/day, $4.00 left", "none of its own", "2033-05-18 03:33 UTC"):
            assert shown in listed.text
        assert not [one for one in (text, other, "of-bob") if one in listed.html]
        [form] = [one for one in listed.forms if one.fields.get("id") == key.id]
        asked = visitor.send(form, 200, reason="<i>lost</i>")
        assert "Whoever is refused is told: <i>lost</i>" in asked.text
        assert KeyBooks(books_of(manager)).find(key.id).state == "active"
        done = visitor.send(asked.form("/page/keys"), 303)
        assert "revoked <i>lost</i>" in done.text
        assert "is revoked already" in visitor.send(form).text
    assert KeyBooks(books_of(manager)).find(key.id).revoked == "<i>lost</i>"


def test_a_keys_holder_sees_the_keys_of_the_same_user_and_revokes_none(holder: Visitor, manager: BudgetManager) -> None:
    key_for(manager, STRANGER, name="of-a-stranger")
    key_for(manager, "alice", name="ci")
    page = holder.get("/page/keys")
    assert "laptop" in page.text
    assert "ci" in page.text
    assert "of-a-stranger" not in page.text
    assert [form.action for form in page.forms] == ["/page/logout"]


def test_a_key_that_is_not_known_or_is_of_somebody_else_is_not_revoked(manager: BudgetManager, url: str) -> None:
    key_for(manager, STRANGER)
    _, others = key_for(manager, "bob")
    with Visitor(url, TOKEN) as visitor:
        form = visitor.get("/page/keys", name=STRANGER).form("/page/keys")
        for id in ("nothing", "", others.id):
            assert visitor.post(form, id=id, agreed="1").status_code == 404
    assert KeyBooks(books_of(manager)).find(others.id).state == "active"


# -- around it


def test_while_the_ledger_is_away_a_browser_is_told_so_with_the_pages_looks() -> None:
    def make() -> Any:
        raise AssertionError

    app = LateStart(make, LedgerUnavailableError("redis://:secret@db is away"))

    async def ask() -> list[Any]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as client:
            css = await client.get("/page/static/page.css")
            return [await client.get("/", headers=BROWSER), css, await client.get("/")]

    page, css, told = asyncio.run(ask())
    assert (page.status_code, "The ledger is away" in page.text) == (503, True)
    assert "secret" not in page.text
    assert css.status_code == 200
    assert told.json() == {"status": "ok"}


def test_a_gateway_may_have_no_page(manager: BudgetManager) -> None:
    app = create_gateway(manager, OpenCallers(), GatewaySettings(), {"BUDGETED_TOKEN": TOKEN}, shows_page=False)

    async def ask() -> list[Any]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as client:
            return [await client.get(path, headers=BROWSER) for path in ("/", "/page/users", "/page/login")]

    root, *pages = asyncio.run(ask())
    assert root.json() == {"service": "budgeted gateway"}
    assert [page.status_code for page in pages] == [404, 404]


@pytest.mark.slow
def test_several_workers_show_one_page(tmp_path: Path) -> None:
    started = Started("--open", "--workers", "2", "--limit", "$10/day", folder=tmp_path)
    try:
        with Visitor(started.url) as visitor:
            for number in range(8):
                form = visitor.get("/page/limits", account="alice").form("/page/limits")
                preview = visitor.send(form, 200, text=f"${number + 1}/day")
                assert f"“alice” are now: ${number + 1}/day" in visitor.send(preview.form("/page/limits"), 303).text
    finally:
        assert started.end() == 0
