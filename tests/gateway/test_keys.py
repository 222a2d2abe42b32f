"""Keys in requests: who is told by them, and which are refused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import DAY, Clock
from hypothesis import given
from hypothesis import strategies as st
from key_requests import ENVIRONMENT, SECRET, Turn, bearer, books_of, caller, key_for, refused

from budgeted import BudgetManager, BudgetStoppedError
from budgeted.errors import LedgerUnavailableError
from budgeted.gateway import key_callers, key_secret, keys
from budgeted.gateway.key_books import KeyBooks
from budgeted.gateway.key_callers import STANDING_SECONDS, KeyCallers
from budgeted.gateway.keys import KeyTextError
from budgeted.ledger.memory.ledger import MemoryLedger


@pytest.fixture
def manager(clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("default", ledger="memory://", clock=clock, wait=0) as made:
        yield made


@pytest.fixture
def turn() -> Turn:
    return Turn()


@pytest.fixture
def callers(manager: BudgetManager, turn: Turn) -> KeyCallers:
    return KeyCallers(manager, ENVIRONMENT, turn)


# -- what a key tells


def test_a_key_tells_who_pays_for_what_and_which_models_may_be_asked_for(
    manager: BudgetManager, callers: KeyCallers
) -> None:
    text, key = key_for(manager, "alice", name="laptop", models=["gpt-5*", "o4-mini"])
    found = caller(callers, bearer(text))
    assert (found.user, found.tags, found.key) == ("alice", (f"t:gateway-key={key.id}",), key.id)
    assert [found.may_ask(model) for model in ("gpt-5", "gpt-5-mini", "o4-mini", "o4-mini-2", "GPT-5", "")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_key_without_models_may_ask_for_any(manager: BudgetManager, callers: KeyCallers) -> None:
    assert caller(callers, bearer(key_for(manager, "alice")[0])).may_ask("claude-sonnet-4-5")


def test_a_call_with_a_key_is_charged_to_its_user_and_to_the_key(manager: BudgetManager, callers: KeyCallers) -> None:
    text, key = key_for(manager, "alice", limits="$1/day", user_limits="$5/day")
    found = caller(callers, bearer(text))
    tags = dict([found.tags[0].removeprefix("t:").split("=")])
    with manager.budget(found.user, tags=tags), manager.hold(cost=0.25) as held:
        held.settle(cost=0.25)
    assert manager.balance("alice").spent == manager.balance(f"tag:gateway-key={key.id}").spent == 0.25
    assert manager.report("tag:gateway-key")[key.id].spent == 0.25


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        (b"authorization", b"Bearer "),
        (b"authorization", b"bearer  "),
        (b"authorization", b""),
        (b"x-api-key", b""),
        (b"api-key", b""),
        (b"x-goog-api-key", b" "),
        (b"x-budgeted-key", b""),
    ],
)
def test_a_key_is_found_in_every_header_that_clients_send_keys_in(
    manager: BudgetManager, callers: KeyCallers, name: bytes, prefix: bytes
) -> None:
    text, _ = key_for(manager, "alice")
    assert caller(callers, [(b"accept", b"*/*"), (name, prefix + text.encode())]).shown == name


def test_the_header_of_our_own_wins_and_leaves_the_providers_key_alone(
    manager: BudgetManager, callers: KeyCallers
) -> None:
    mine, other = key_for(manager, "alice")[0], key_for(manager, "bob")[0]
    for beside in (b"sk-of-the-provider", other.encode()):
        found = caller(callers, [(b"x-api-key", beside), (b"x-budgeted-key", mine.encode())])
        assert (found.user, found.shown) == ("alice", b"x-budgeted-key")


def test_another_credential_beside_a_key_of_ours_does_no_harm(manager: BudgetManager, callers: KeyCallers) -> None:
    text, _ = key_for(manager, "alice")
    headers = [(b"authorization", b"AWS4-HMAC-SHA256 Credential=AKIA/x"), (b"x-api-key", text.encode())]
    assert caller(callers, headers).user == "alice"


# -- refused


def test_without_a_key_one_is_told_how_to_get_one(callers: KeyCallers) -> None:
    error = refused(callers, [(b"host", b"localhost")])
    assert error.status == 401
    assert "no key" in error.text
    assert "budgeted keys create" in error.text


@pytest.mark.parametrize("name", [b"authorization", b"x-api-key", b"x-budgeted-key"])
def test_a_providers_key_in_place_of_ours_is_refused_and_not_quoted(callers: KeyCallers, name: bytes) -> None:
    error = refused(callers, [(name, b"sk-ant-api03-very-secret")])
    assert error.status == 401
    assert name.decode() in error.text
    assert "sk-" not in error.text


def test_two_keys_of_ours_are_refused_wherever_they_are(manager: BudgetManager, callers: KeyCallers) -> None:
    one, other = (key_for(manager, user)[0].encode() for user in ("alice", "bob"))
    for headers in (
        [(b"authorization", b"Bearer " + one), (b"authorization", b"Bearer " + other)],
        [(b"x-api-key", one), (b"api-key", other)],
        [(b"x-budgeted-key", one), (b"x-budgeted-key", other)],
        [(b"x-budgeted-key", one), (b"x-budgeted-key", b"")],
    ):
        assert refused(callers, headers).status == 400
    assert caller(callers, [(b"authorization", b"Bearer " + one), (b"x-api-key", one)]).user == "alice"


def test_a_forged_key_is_refused_with_no_more_of_it_than_its_beginning(
    manager: BudgetManager, callers: KeyCallers
) -> None:
    text, _ = key_for(manager, "alice")
    forged = keys.made("alice", "default", b"another secret")[0]
    for wrong in (forged, text[:-1], text + "a", text[:10], text.upper(), "bk-", f"{text[:40]}7{text[41:]}"):
        error = refused(callers, bearer(wrong))
        assert error.status == 401
        assert wrong[:9] not in error.text or len(wrong) < 9
        assert SECRET not in error.text


@pytest.mark.parametrize(
    "value",
    [
        b"bk-" + b"a" * 1_000_000,
        b"bk-\xff\xfe\x00abc",
        b"bk-\x00",
        "bk-ключ-ключ".encode(),
        b"bk-" + b"A" * 40,
        b"bk-aaaaaaaa bk-bbbbbbbb",
        b"bk-%2e%2e/..",
    ],
)
def test_nonsense_is_refused_as_such(callers: KeyCallers, value: bytes) -> None:
    error = refused(callers, [(b"x-api-key", value)])
    assert error.status == 401
    assert error.text.isascii()
    assert len(error.text) < 400


def test_no_change_of_a_key_leaves_it_a_key(manager: BudgetManager) -> None:
    text, key = key_for(manager, "alice", name="laptop")
    assert keys.read(text, SECRET.encode()).id == key.id
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    for place in range(3, len(text)):
        other = alphabet[(alphabet.index(text[place]) + 1) % 32]
        with pytest.raises(KeyTextError):
            keys.read(text[:place] + other + text[place + 1 :], SECRET.encode())


@given(st.text())
def test_no_text_is_taken_for_a_key_by_chance(text: str) -> None:
    for one in (text, keys.PREFIX + text):
        with pytest.raises(KeyTextError):
            keys.read(one, SECRET.encode())


def test_an_expired_key_is_refused_from_that_moment_on(
    manager: BudgetManager, callers: KeyCallers, clock: Clock
) -> None:
    text, _ = key_for(manager, "alice", name="laptop", expires=int(clock() + DAY))
    clock.now += DAY - 1
    assert caller(callers, bearer(text)).user == "alice"
    clock.now += 1
    error = refused(callers, bearer(text))
    assert error.status == 401
    assert "(laptop) has expired, on 2025-11-23 12:00+00:00" in error.text


def test_a_key_of_another_project_is_refused(manager: BudgetManager, callers: KeyCallers) -> None:
    with BudgetManager("other", ledger="memory://") as other:
        text, _ = key_for(other, "alice")
    error = refused(callers, bearer(text))
    assert error.status == 401
    assert "project" in error.text


def test_a_key_that_the_ledger_has_never_heard_of_is_refused(manager: BudgetManager, callers: KeyCallers) -> None:
    with BudgetManager("default", ledger="memory://") as other:  # with the same secret, as of staging and production
        text, key = key_for(other, "alice", limits="$1/day")
    error = refused(callers, bearer(text))
    assert error.status == 401
    assert f"{key.id} is not known" in error.text


# -- revoked


def test_a_revoked_key_is_refused_with_the_reason_and_its_calls_by_the_ledger_at_once(
    manager: BudgetManager, callers: KeyCallers, turn: Turn
) -> None:
    text, key = key_for(manager, "alice")
    found = caller(callers, bearer(text))
    made = KeyBooks(books_of(manager))
    made.revoke(key.id, "it was in a public repository")
    with (
        pytest.raises(BudgetStoppedError, match="it was in a public repository"),
        manager.budget(found.user, tags={"gateway-key": key.id}),
        manager.hold(cost=0.01),
    ):
        pass
    turn.now += STANDING_SECONDS
    error = refused(callers, bearer(text))
    assert error.status == 402
    assert "was revoked, and nothing was sent: it was in a public repository" in error.text
    made.restore(key.id)
    assert caller(callers, bearer(text)).user == "alice"


def test_who_has_gone_before_the_ledger_answered_leaves_a_revoked_key_no_time(
    manager: BudgetManager, callers: KeyCallers, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, key = key_for(manager, "alice")
    caller(callers, bearer(text))
    KeyBooks(books_of(manager)).revoke(key.id)
    turn.now += STANDING_SECONDS
    with monkeypatch.context() as gone:
        gone.setattr(MemoryLedger, "read", _interrupted)
        with pytest.raises(InterruptedError):
            caller(callers, bearer(text))
    assert refused(callers, bearer(text)).status == 402


def _interrupted(self: MemoryLedger, account: str) -> None:
    raise InterruptedError


def test_a_key_whose_account_was_deleted_is_not_taken_without_its_limits(
    manager: BudgetManager, callers: KeyCallers
) -> None:
    text, key = key_for(manager, "alice", limits="$1")
    manager.delete_user(f"tag:gateway-key={key.id}")
    assert refused(callers, bearer(text)).status == 401


# -- a ledger that is away


def _away(self: MemoryLedger, account: str) -> None:
    raise LedgerUnavailableError("the server at 10.0.0.7 does not answer")


def test_while_the_ledger_is_away_no_new_key_is_taken_and_known_ones_are(
    manager: BudgetManager, callers: KeyCallers, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, new = (key_for(manager, user)[0] for user in ("alice", "bob"))
    caller(callers, bearer(known))
    turn.now += STANDING_SECONDS
    monkeypatch.setattr(MemoryLedger, "read", _away)
    assert caller(callers, bearer(known)).user == "alice"
    error = refused(callers, bearer(new))
    assert error.status == 503
    assert "10.0.0.7" not in error.text


# -- the secret


def test_keys_of_several_gateways_agree_by_the_same_secret(manager: BudgetManager, budgeted_home: Path) -> None:
    text, _ = key_for(manager, "alice")
    assert caller(KeyCallers(manager, dict(ENVIRONMENT)), bearer(text)).user == "alice"
    assert refused(KeyCallers(manager, {"BUDGETED_SECRET": SECRET + "!"}), bearer(text)).status == 401
    assert not (budgeted_home / "gateway.secret").exists()


def test_the_first_key_may_be_made_while_the_gateway_runs(manager: BudgetManager) -> None:
    callers = KeyCallers(manager, {})
    foreign = keys.made("alice", "default", b"another secret")[0]
    assert "knows of no keys yet" in refused(callers, bearer(foreign)).text
    secret, _ = key_secret.find_or_make({})
    text, _ = KeyBooks(books_of(manager)).create("alice", secret)
    assert caller(callers, bearer(text)).user == "alice"


def test_a_secret_that_can_be_guessed_is_warned_of(manager: BudgetManager, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "budgeted"):
        KeyCallers(manager, {"BUDGETED_SECRET": "hunter2"})
    assert "7 characters" in caplog.text
    assert "hunter2" not in caplog.text


def test_nothing_that_is_remembered_is_a_key(manager: BudgetManager, callers: KeyCallers) -> None:
    text, _ = key_for(manager, "alice")
    caller(callers, bearer(text))
    assert text not in repr(vars(callers))


def test_only_so_many_keys_are_remembered(
    manager: BudgetManager, callers: KeyCallers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_callers, "MOST_READ", 3)
    texts = [key_for(manager, "alice")[0] for _ in range(5)]
    for text in texts + texts:
        assert caller(callers, bearer(text)).user == "alice"
    assert [len(found) for found in (callers._read, callers._good)] == [3, 3]
