"""Keys of a gateway, as every ledger keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ledgers
import pytest
from clocks import DAY, Clock

from budgeted import BudgetExceededError, BudgetStoppedError, LedgerError
from budgeted.gateway import key_records, keys
from budgeted.gateway.key_books import KeyBooks, UnknownKeyError
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.move_project import migrate
from budgeted.ledger.verification import contradictions
from budgeted.manager.administrative_manager import Books

SECRET = b"a secret of more than enough characters"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def books(ledger: Any, clock: Clock) -> Iterator[Books]:
    with Books("tests", ledger=ledger, clock=clock, wait=0) as made:
        yield made


def pay(books: Books, user: str, key: str, cost: float) -> None:
    with books.budget(user, tags={"gateway-key": key}), books.hold(cost=cost) as held:
        held.settle(cost=cost)


def test_a_key_is_listed_with_all_but_its_text(books: Books, clock: Clock) -> None:
    until = int(clock() + DAY)
    text, made = KeyBooks(books).create(
        "ål=&ce +1", SECRET, name="a & b", limits="$5/day", expires=until, models=["gpt-5*", "a=b&c", "gpt-5*"]
    )
    pay(books, made.user, made.id, 1.5)
    [found] = KeyBooks(books).every()
    assert (found.id, found.user, found.name, found.models) == (made.id, "ål=&ce +1", "a & b", ("gpt-5*", "a=b&c"))
    assert (found.spent, found.state, found.revoked) == (1.5, "active", "")
    assert [(one.text, one.remaining) for one in found.limits] == [("$5/day", 3.5)]
    assert (found.created.timestamp(), found.expires and found.expires.timestamp()) == (clock(), until)
    assert keys.read(text, SECRET) == keys.Key(made.id, made.user, "tests", until, made.models, "a & b")
    assert text[3:] not in repr(books.ledger.everything())
    clock.now += DAY
    assert KeyBooks(books).find(text).state == "expired"


def test_a_key_has_limits_of_its_own_beside_those_of_its_user(books: Books) -> None:
    made = KeyBooks(books)
    one, other = (made.create("alice", SECRET, limits="$1", user_limits="$1.50")[1].id for _ in range(2))
    pay(books, "alice", one, 1)
    with pytest.raises(BudgetExceededError) as caught:
        pay(books, "alice", one, 0.1)
    assert caught.value.account == f"tag:gateway-key={one}"
    with pytest.raises(BudgetExceededError) as caught:
        pay(books, "alice", other, 0.6)
    assert caught.value.account == "alice"
    pay(books, "alice", other, 0.5)


def test_a_revoked_key_is_refused_until_it_is_restored(books: Books) -> None:
    made = KeyBooks(books)
    one, other = (made.create("alice", SECRET)[1].id for _ in range(2))
    assert made.revoke(one, "leaked").state == "revoked"
    with pytest.raises(BudgetStoppedError, match="leaked"):
        pay(books, "alice", one, 0.1)
    pay(books, "alice", other, 0.1)
    assert key_records.standing(books.ledger, one) == key_records.Standing(known=True, revoked="leaked")
    assert [key.revoked for key in made.every("alice")] == ["leaked" if key.id == one else "" for key in made.every()]
    assert made.restore(one).state == "active"
    pay(books, "alice", one, 0.1)
    assert made.revoke(one).revoked == "the key was revoked"


def test_a_key_whose_account_was_deleted_is_not_restored_without_its_limits(books: Books) -> None:
    made = KeyBooks(books)
    key = made.create("alice", SECRET, limits="$1")[1].id
    books.delete_user(f"tag:gateway-key={key}")
    assert [one.revoked for one in made.every()] == ["its account was deleted"]
    assert made.revoke(key).revoked == "its account was deleted"
    with pytest.raises(LedgerError, match="its limits with it; make a new key"):
        made.restore(key)
    assert not key_records.standing(books.ledger, key).known
    books.set_limits(f"tag:gateway-key={key}", "$2")  # which is said in so many words
    assert made.find(key).state == "active"


def test_a_replaced_key_hands_on_its_limits_with_what_was_spent_and_is_held(books: Books) -> None:
    made = KeyBooks(books)
    old = made.create("alice", SECRET, name="ci", limits="$1/day + $3/rolling 24h", models=["gpt-5"])[1]
    pay(books, "alice", old.id, 0.5)
    with books.budget("alice", tags={"gateway-key": old.id}):
        in_flight = books.hold(cost=0.25).__enter__()
    text, new = made.rotate(old.id, SECRET)
    assert keys.read(text, SECRET).id == new.id != old.id
    assert (new.user, new.name, new.models, new.state) == ("alice", "ci", ("gpt-5",), "active")
    assert [(one.text, one.spent, one.held) for one in new.limits] == [
        ("$1/day", 0.75, 0.0),
        ("$3/rolling day", 0.75, 0.0),
    ]
    with pytest.raises(BudgetExceededError) as caught:
        pay(books, "alice", new.id, 0.3)
    assert caught.value.account == f"tag:gateway-key={new.id}"
    with pytest.raises(BudgetStoppedError, match=f"replaced by {new.id}"):
        pay(books, "alice", old.id, 0.01)
    in_flight.settle(cost=0.25)
    pay(books, "alice", new.id, 0.25)
    assert list(contradictions(books.ledger.everything())) == []
    with pytest.raises(ValueError, match="revoked"):
        made.rotate(old.id, SECRET)


def test_what_is_kept_of_keys_is_nobody_who_pays(books: Books) -> None:
    key = KeyBooks(books).create("alice", SECRET, limits="$1")[1]
    pay(books, "alice", key.id, 0.25)
    assert [one.name for one in books.accounts()] == ["alice"]
    assert [one.name for one in books.accounts("tag:")] == [f"tag:gateway-key={key.id}"]
    assert list(books.report("user")) == ["alice"]
    assert set(books.report("account")) == {"global", "alice", f"tag:gateway-key={key.id}"}
    assert list(contradictions(books.ledger.everything())) == []
    assert books.repair_periods() == 0


def test_an_unknown_key_is_refused_with_the_one_that_may_be_meant(books: Books) -> None:
    made = KeyBooks(books)
    text, key = made.create("alice", SECRET, name="laptop")
    assert made.find(text) == made.find(key.id) == key
    for wrong in (f"{key.id[:-1]}0", "laptop"):
        with pytest.raises(UnknownKeyError, match=f"did you mean {key.id}, which is called 'laptop'"):
            made.find(wrong)
    foreign = keys.made("alice", "tests", SECRET)[0]
    for wrong in (foreign, "", "*", "g", "\x00", "é" * 300, " ", "bk-" + "x" * 10_000):
        with pytest.raises(UnknownKeyError) as caught:
            made.revoke(wrong)
        assert foreign[9:] not in str(caught.value)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"limits": "$5/dya"}, "dya"),
        ({"user_limits": "five"}, "five"),
        ({"limits": ["$5", "$6"]}, "two amounts"),
        ({"models": [""]}, "''"),
        ({"models": ["a b"]}, "'a b'"),
        ({"models": ["a,b"]}, "'a,b'"),
        ({"models": [f"model-{number}" for number in range(51)]}, "51"),
        ({"models": ["x" * 256 + str(number) for number in range(10, 40)]}, "without blanks"),
        ({"models": ["x" * 250 + str(number) for number in range(10, 40)]}, "go into a header"),
        ({"name": "x" * 101}, "at most 100 bytes"),
        ({"name": "a\nb"}, "control characters"),
        ({"expires": 1}, "past"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_and_leaves_nothing(options: dict[str, Any], told: str) -> None:
    with Books("tests", ledger=MemoryLedger()) as books:
        with pytest.raises(ValueError, match=told):
            KeyBooks(books).create("alice", SECRET, **options)
        assert books.accounts() == books.accounts("tag:") == KeyBooks(books).every() == []


@pytest.mark.parametrize("user", ["", "$5/day", "tag:a=b", "a\x00b", "x" * 257])
def test_a_key_is_for_a_user(user: str) -> None:
    with Books("tests", ledger=MemoryLedger()) as books, pytest.raises(ValueError, match=r"user|write"):
        KeyBooks(books).create(user, SECRET)


def test_limits_of_all_keys_count_for_those_without_any_of_their_own() -> None:
    with Books("tests", ledger=MemoryLedger(), default_user_limits={"tag:gateway-key=*": "$1"}, wait=0) as books:
        key = KeyBooks(books).create("alice", SECRET)[1]
        with pytest.raises(BudgetExceededError):
            pay(books, "alice", key.id, 1.1)


def test_keys_go_with_their_project_into_another_ledger(directory: Path) -> None:
    with Books("tests", ledger=MemoryLedger()) as books:
        made = KeyBooks(books)
        one = made.create("alice", SECRET, name="laptop", limits="$1")[1]
        pay(books, "alice", one.id, 0.25)
        made.create("bob", SECRET)
        made.revoke(one.id, "leaked")
        before = made.every()
        with Books("tests", ledger=JournalLedger(directory)) as target:
            migrate(books.ledger, target.ledger)
            assert KeyBooks(target).every() == before
            ledgers.check(target.ledger)
