"""What makes no sense is refused at the door: the error quotes it, says what to write, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from budgeted import BudgetManager, LedgerError, Usage, budget, budgeted, get_manager, hold, register_price

register_price("refusing", input=1, output=1, max_output_tokens=100)

LONG = "a" * 257
SURROGATE = "\ud800"
NO_NAMES = [
    ("", "is empty"),
    (5, "must be a string, got 5; "),
    (b"a", "must be a string, got b'a'"),
    (LONG, "has 257 bytes, and 256 are allowed"),
    ("é" * 129, "has 258 bytes, and 256 are allowed"),
    ("a\nb", r"'a\\nb' holds control characters"),
    (SURROGATE, "'\\\\ud800' holds control characters or lone surrogates"),
]
NO_TEXT = [("", "got ''"), (5, "got 5"), (b"x", "got b'x'"), (SURROGATE, "'\\\\ud800' holds lone surrogates")]
NO_COUNTS = [
    (-1, "-1"),
    (True, "True"),
    (1.5, "1.5"),
    ("5", "'5'"),
    (None, "None"),
    (float("nan"), "nan"),
    (10**30, "1000000"),
]

Call = Callable[[BudgetManager], Any]


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("refusing", ledger="memory://", max_budget="$5") as made:
        made.create_budget(10, "alice")
        yield made


def state(manager: BudgetManager) -> object:
    return manager.user_dict, manager.balances(), manager.balances("alice"), manager.uncertain(), manager.settings


def refused(manager: BudgetManager, call: Call, text: str) -> None:
    before = state(manager)
    with pytest.raises((ValueError, TypeError, LedgerError), match=text) as caught:
        call(manager)
    assert not isinstance(caught.value, UnicodeError)
    assert state(manager) == before


@pytest.mark.parametrize(("user", "text"), NO_NAMES)
def test_a_user_that_is_no_name(manager: BudgetManager, user: Any, text: str) -> None:
    doors: Sequence[Call] = (
        lambda manager: manager.create_budget(5, user),
        lambda manager: manager.set_limits(user, "$5"),
        lambda manager: manager.delete_user(user),
        lambda manager: manager.balance(user),
        lambda manager: manager.budget(user),
        lambda manager: manager.hold(cost=1, user=user),
        lambda manager: manager.update_cost(user, model="refusing", input_text="x", output_text="y"),
        lambda manager: manager.projected_cost("refusing", [], user),
        lambda manager: manager.get_current_cost(user),
        lambda manager: manager.reset_cost(user),
        lambda manager: manager.accounts(after=user),
    )
    for door in doors:
        refused(manager, door, text)


def test_nobody_is_no_user_to_delete_or_to_charge(manager: BudgetManager) -> None:
    refused(manager, lambda manager: manager.delete_user(None), "user must be a string, got None")  # type: ignore[arg-type]
    refused(manager, lambda manager: manager.update_cost(model="refusing", input_text="x"), "user must be a string")


@pytest.mark.parametrize(
    ("user", "text"),
    [("$5", r"\({}='5'\)"), ("$5/day", r"\({}='5'\)"), (5, r"\({}=5\)"), (0.5, r"\({}=0.5\)")],
)
def test_an_amount_where_a_user_is_asked_for(manager: BudgetManager, user: Any, text: str) -> None:
    refused(manager, lambda manager: manager.budget(user), "for an amount write budget" + text.format("cap"))
    refused(manager, lambda manager: manager.hold("refusing", user=user), "write hold" + text.format("cost"))


@pytest.mark.parametrize(("model", "text"), NO_TEXT)
def test_a_model_that_is_no_name(manager: BudgetManager, model: Any, text: str) -> None:
    refused(manager, lambda manager: manager.projected_cost(model, [], "alice"), f"model.*{text}")
    refused(manager, lambda manager: manager.update_cost("alice", model=model, input_text="x"), f"model.*{text}")
    refused(manager, lambda manager: manager.hold(model, "x"), f"model.*{text}")
    refused(manager, lambda manager: manager.hold("refusing", "x", provider=model), f"provider.*{text}")
    refused(manager, lambda manager: manager.budget("alice", fallback=[model]), "fallback")


def test_a_response_is_recorded_whatever_its_model_is_called(manager: BudgetManager) -> None:
    manager.reconfigure(unpriced="free")
    manager.update_cost("alice", {"model": f"x{SURROGATE}", "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    assert list(manager.get_model_cost("alice")) == ["x?"]


@pytest.mark.parametrize("messages", [5, None, "hi", b"ho", {"role": "user", "content": "hi"}])
def test_messages_that_are_no_list(manager: BudgetManager, messages: Any) -> None:
    refused(manager, lambda manager: manager.projected_cost("refusing", messages, "alice"), "messages must be a list")


@pytest.mark.parametrize("text", [5, b"x", ["x"]])
def test_texts_that_are_none(manager: BudgetManager, text: Any) -> None:
    for given in ("input_text", "output_text"):
        refused(
            manager, lambda manager, given=given: manager.update_cost("alice", model="refusing", **{given: text}), given
        )  # type: ignore[misc]


@pytest.mark.parametrize("response", [5, {}, [], "hello", {"usage": {"prompt_tokens": -1, "completion_tokens": 1}}])
def test_a_response_that_does_not_say_what_it_used(manager: BudgetManager, response: Any) -> None:
    refused(manager, lambda manager: manager.update_cost("alice", response), f"the {type(response).__name__} given")


@pytest.mark.parametrize(("count", "text"), NO_COUNTS)
def test_a_count_that_is_none(manager: BudgetManager, count: Any, text: str) -> None:
    refused(manager, lambda manager: manager.accounts(count=count), f"count must be a number from 0.*got {text}")
    if count is not None:
        refused(manager, lambda manager: manager.hold("refusing", n=count), f"n must be a number from 1.*got {text}")
        refused(manager, lambda manager: manager.hold("refusing", "x", count), f"max_output_tokens must .*got {text}")
        refused(manager, lambda manager: manager.reconfigure(min_output_tokens=count), f"min_output_tokens.*got {text}")


@pytest.mark.parametrize(("prefix", "text"), [*NO_NAMES[1:], (None, "got None")])
def test_a_prefix_that_begins_no_name(manager: BudgetManager, prefix: Any, text: str) -> None:
    refused(manager, lambda manager: manager.accounts(prefix), f"prefix.*{text}")


def uncertain(manager: BudgetManager) -> str:
    with manager.hold("refusing", "hello", 50, user="alice"):
        pass
    return manager.uncertain()[0].id


@pytest.mark.parametrize("id", [5, None, "", "nope", b"x", ["x"], SURROGATE, "a\0b", "é"])
def test_a_charge_that_nobody_knows(manager: BudgetManager, id: Any) -> None:
    uncertain(manager)
    refused(manager, lambda manager: manager.reconcile(id, cost=1), "no charge .* is known; uncertain\\(\\) lists")


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ({}, "takes one of"),
        ({"cost": 1, "usage": Usage(1, 2)}, "takes one of"),
        ({"cost": float("nan")}, "cost must be finite, got nan"),
        ({"cost": -1}, "cost must not be negative, got -1"),
        ({"cost": True}, "cost must be a number of USD.*got True"),
        ({"cost": 10**30}, "cost must not be above"),
        ({"usage": {}}, "usage must be a Usage or a mapping.*got {}"),
        ({"usage": 5}, "usage must be a Usage or a mapping.*got 5"),
        ({"usage": {"nope": 1}}, "usage must have the fields of Usage.*'nope'"),
        ({"usage": {5: 1}}, "usage must have the fields of Usage.*5: 1"),
        ({"usage": {"input_tokens": -1}}, "input_tokens must be from 0"),
        ({"usage": {"input_tokens": 1.5}}, "input_tokens must be an int, got 1.5"),
        ({"usage": {"input_tokens": "many"}}, "input_tokens must be an int, got 'many'"),
    ],
)
def test_a_correction_that_makes_no_sense(manager: BudgetManager, figures: dict[str, Any], text: str) -> None:
    id = uncertain(manager)
    refused(manager, lambda manager: manager.reconcile(id, **figures), text)


@pytest.mark.parametrize("other", [5, "default", BudgetManager, get_manager, object()])
def test_a_manager_that_is_none(manager: BudgetManager, other: Any) -> None:
    doors: Sequence[Call] = (
        lambda _: budget("alice", manager=other),
        lambda _: hold(cost=1, manager=other),
        lambda _: budgeted("alice", manager=other),
    )
    for door in doors:
        refused(manager, door, "manager must be a BudgetManager, or left out")


@pytest.mark.parametrize("headers", [5, "x", b"y", [("a", "b")], {"Authorization": b"s3cr3t"}, {5: "s3cr3t"}])
def test_headers_are_text_and_are_not_shown(manager: BudgetManager, headers: Any) -> None:
    def door(_: BudgetManager) -> None:
        with pytest.raises(TypeError) as caught:
            BudgetManager("hosted", "hosted", "http://127.0.0.1:9", headers)
        assert "s3cr3t" not in str(caught.value)
        raise caught.value

    refused(manager, door, "headers must be")


@pytest.mark.parametrize(("name", "size"), [("a" * 256, 256), ("é" * 43, 258), (":" * 100, 300)])
def test_a_project_whose_folder_would_have_too_long_a_name(tmp_path: Path, name: str, size: int) -> None:
    with pytest.raises(ValueError, match=f"project_name '.*of {size} bytes, and 255 are allowed; use a shorter one"):
        BudgetManager(name, ledger=tmp_path)
    assert list(tmp_path.iterdir()) == []
    for allowed in (name[:42], "a" * 255):
        BudgetManager(allowed, ledger=tmp_path, max_budget=1).close()
    BudgetManager(name, ledger="memory://").close()


def test_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    for path in (str(tmp_path / SURROGATE), str(tmp_path / "a\0b")):
        with pytest.raises(LedgerError, match="is not known; write a path"):
            BudgetManager("refusing", ledger=path)
    assert list(tmp_path.iterdir()) == []
