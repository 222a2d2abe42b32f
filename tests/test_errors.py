"""What is raised: its place in the tree, its attributes and text, and its way through pickle."""

from __future__ import annotations

import copy
import datetime as dt
import json
import math
import pickle
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

import budgeted
from budgeted import (
    BudgetError,
    BudgetExceededError,
    BudgetManager,
    LedgerCorruptError,
    LedgerError,
    LedgerLockedError,
    LedgerUnavailableError,
    UnattributedCallError,
    UnknownUserError,
    UnpricedModelError,
)
from budgeted.errors import made_later

NOON = 1_763_812_800.0  # 2025-11-22T12:00:00Z


def exceeded(**changes: Any) -> BudgetExceededError:
    """An error as it is raised: amounts in nano-USD."""
    fields: dict[str, Any] = {
        "account": "alice",
        "account_kind": "user",
        "limit": "$10/day",
        "amount": 10_000_000_000,
        "spent": 9_500_000_000,
        "held": 300_000_000,
        "requested": 1_250_000_000,
        "reason": "spent",
        "retry_after": 43_200.0,
        "resets_at": dt.datetime(2025, 11, 23, tzinfo=dt.UTC),
        "model": "gpt-5",
        "max_output_tokens": 400,
    }
    return BudgetExceededError(**{**fields, **changes})


def test_all_errors_are_budget_errors() -> None:
    for kind in (BudgetExceededError, UnattributedCallError, UnpricedModelError, UnknownUserError, LedgerError):
        assert issubclass(kind, BudgetError)
    for kind in (LedgerUnavailableError, LedgerLockedError, LedgerCorruptError):
        assert issubclass(kind, LedgerError)
    assert issubclass(UnknownUserError, KeyError)
    assert not issubclass(BudgetError, (ValueError, TypeError, OSError))


def test_every_error_is_exported() -> None:
    tree = {BudgetError}
    while (more := tree | {child for kind in tree for child in kind.__subclasses__()}) != tree:
        tree = more
    assert {kind.__name__ for kind in tree} == {name for name in budgeted.__all__ if name.endswith("Error")}


def test_its_attributes_are_amounts_in_usd() -> None:
    error = exceeded()
    assert (error.account, error.account_kind, error.limit, error.unit) == ("alice", "user", "$10/day", "usd")
    assert (error.spent, error.held, error.requested, error.remaining) == (9.5, 0.3, 1.25, 0.2)
    assert (error.reason, error.retry_after, error.model) == ("spent", 43_200, "gpt-5")
    assert error.resets_at == dt.datetime(2025, 11, 23, tzinfo=dt.UTC)
    assert (error.current_cost, error.max_budget) == (9.5, 10)
    assert error.max_output_tokens == 400


def test_remaining_is_never_negative() -> None:
    assert exceeded(spent=12_000_000_000).remaining == 0


def test_other_units_are_counted_not_priced() -> None:
    error = exceeded(limit="60 calls/minute", unit="calls", amount=60, spent=58, held=2, requested=1)
    assert (error.spent, error.held, error.requested, error.remaining, error.max_budget) == (58, 2, 1, 0, 60)
    assert "0 calls left of 60 calls/minute" in str(error)


@pytest.mark.parametrize(
    ("limit", "unit", "said"),
    [
        (
            "20,000 input tokens/minute",
            "input tokens",
            "has 2,000 input tokens left of 20,000 input tokens/minute, and",
        ),
        ("20,000 input tokens/minute", "input tokens", "may need 1 input token (spent 18,000 input tokens, held by"),
        ("20,000 tool calls", "tool calls", "may need 1 tool call (spent 18,000 tool calls, held by calls in flight 0"),
        ("20,000 calls/rolling day", "calls", "; it would fit at 2025-11-23T00:00:00+00:00"),
        ("20,000 calls/day", "calls", "; the limit resets at 2025-11-23T00:00:00+00:00"),
    ],
)
def test_its_text_reads_well_in_every_unit(limit: str, unit: str, said: str) -> None:
    error = exceeded(
        limit=limit, unit=unit, amount=20_000, spent=18_000, held=0, requested=1, max_output_tokens=None, model=None
    )
    assert said in str(error)
    assert pickle.loads(pickle.dumps(error)).args == error.args  # noqa: S301


def test_its_text_says_who_how_much_of_what_until_when_and_what_would_have_fitted() -> None:
    text = str(exceeded())
    assert text == (
        "user 'alice' has $0.20 left of $10/day, and this call for gpt-5 may need $1.25 "
        "(spent $9.50, held by calls in flight $0.30); it would fit with an output cap of 400 tokens; "
        "the limit resets at 2025-11-23T00:00:00+00:00"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"account": "global", "account_kind": "global"}, "the global budget has $0.20 left"),
        ({"account": "nightly", "account_kind": "block"}, "block 'nightly' has"),
        ({"reason": "held"}, "it may fit when calls in flight have ended"),
        ({"resets_at": None}, "raise the limit to go on"),
        ({"model": None}, "this call may need"),
        ({"requested": 1}, "may need $0.000000001"),
        ({"requested": 123_456_789}, "may need $0.1235"),
    ],
)
def test_its_text_fits_the_case(changes: dict[str, Any], said: str) -> None:
    assert said in str(exceeded(**changes))


def test_nothing_is_said_of_an_output_cap_that_cannot_help() -> None:
    assert "output cap" not in str(exceeded(max_output_tokens=None))


def one_of_each() -> list[BudgetError]:
    """Every error of the package, and some with parts of their own."""
    tree = [BudgetError]
    for kind in tree:
        tree += [child for child in kind.__subclasses__() if child not in tree]
    closed = LedgerError("the ledger is closed")
    closed.closed = True
    noted = exceeded(account="<b>änne</b>", known_as="")
    noted.add_note("of the application")
    return [
        *(kind("what went wrong: 'x'") for kind in tree),
        exceeded(),
        exceeded(retry_after=None, resets_at=None, model=None, max_output_tokens=None),
        exceeded(unit="calls", amount=60, spent=58, held=2, requested=1),
        closed,
        noted,
    ]


ERRORS = [pytest.param(error, id=f"{type(error).__name__}-{number}") for number, error in enumerate(one_of_each())]


def same(one: BaseException, other: BaseException) -> bool:
    """Whether two errors are alike in all that can be seen of them. By repr: NaN does not equal itself."""
    shown = [
        (type(error), str(error), repr(error), repr(error.args), sorted(map(repr, vars(error).items())))
        for error in (one, other)
    ]
    return shown[0] == shown[1]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_survives_pickle_and_copy(error: BudgetError) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert same(pickle.loads(pickle.dumps(error, protocol)), error)  # noqa: S301
    assert same(copy.copy(error), error)
    assert same(copy.deepcopy(error), error)


LOOKS: dict[str, Callable[[BudgetExceededError], object]] = {
    "attribute": lambda error: error.remaining,
    "vars": vars,
    "text": str,
    "args": lambda error: error.args,
    "pickle": pickle.dumps,
    "note": lambda error: error.add_note("while the report was written"),
    "nothing": lambda error: hasattr(error, "no_such_attribute"),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_refusal_says_the_same_however_it_is_looked_at_first(look: Callable[[BudgetExceededError], object]) -> None:
    clock = [NOON]
    with BudgetManager("errors", ledger="memory://", max_budget=10, clock=lambda: clock[0]) as manager:
        manager.set_limits("alice", "$0.0001/day")

        @manager.budgeted("alice")
        def ask(model: str, messages: list[dict[str, str]], max_tokens: int) -> None:
            raise AssertionError(model, messages, max_tokens)

        with pytest.raises(BudgetExceededError) as raised:
            ask("gpt-4o", [{"role": "user", "content": "Hello"}], max_tokens=10_000)
        error = raised.value
        clock[0] += 3600
        manager.set_limits("alice", "$5/month")
    look(error)
    told = (error.account, error.account_kind, error.limit, error.reason, error.unit, error.model)
    assert told == ("alice", "user", "$0.0001/day", "spent", "usd", "gpt-4o")
    assert (error.max_budget, error.spent, error.held, error.remaining) == (0.0001, 0.0, 0.0, 0.0001)
    assert error.requested > 0.1
    assert (error.retry_after, error.resets_at) == (43_200.0, dt.datetime(2025, 11, 23, tzinfo=dt.UTC))
    assert str(error).startswith("user 'alice' has $0.0001 left of $0.0001/day, and this call for gpt-4o may need $0.1")
    assert same(pickle.loads(pickle.dumps(error)), error)  # noqa: S301
    assert set(vars(error)) - {"__notes__", "_told"} == set(vars(exceeded(known_as="")))


def test_what_whoever_catches_a_refusal_sets_on_it_stays() -> None:
    error = made_later(lambda: parts)
    parts: Any = {"account": "alice", "account_kind": "user", "limit": "$10/day", "known_as": None, "asked": ""}
    error.account = "the customer"
    assert (error.limit, error.account, error.remaining) == ("$10/day", "the customer", 0.0)
    assert str(error).startswith("user 'the customer' has $0.00 left of $10/day")


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:(celery|kombu|billiard)")
@pytest.mark.parametrize("serializer", ["json", "pickle"])
@pytest.mark.parametrize("error", ERRORS)
def test_every_error_comes_whole_out_of_a_result_of_celery(error: BudgetError, serializer: str) -> None:
    app = pytest.importorskip("celery").Celery("errors", backend="cache+memory://", set_as_current=False)
    app.conf.update(result_serializer=serializer, accept_content=["json", "pickle"])
    task = str(uuid.uuid4())  # the memory is that of all applications
    app.backend.store_result(task, error, "FAILURE")
    again = app.AsyncResult(task).result
    assert (type(again), str(again), repr(again)) == (type(error), str(error), repr(error))
    if isinstance(error, BudgetExceededError):
        fields = [name for name in vars(error) if name not in ("__notes__", "_told")]
        assert repr([getattr(again, name) for name in fields]) == repr([getattr(error, name) for name in fields])


@pytest.mark.parametrize("parts", [(), ("cut off",), ({},), ({"account": "alice", "resets_at": "soon"},), (None,)])
def test_of_a_bare_text_nothing_else_is_known(parts: tuple[Any, ...]) -> None:
    error = BudgetExceededError("the text", *parts)
    assert str(error) == "the text"
    assert repr(error) == "BudgetExceededError('the text')"
    assert (error.account, error.account_kind, error.limit, error.reason) == ("", "", "", "")
    assert (error.retry_after, error.resets_at, error.model, error.max_output_tokens) == (None,) * 4
    figures = (error.spent, error.held, error.requested, error.remaining, error.current_cost, error.max_budget)
    assert all(map(math.isnan, figures))
    assert str(copy.copy(error)) == "the text"


def test_what_telemetry_may_not_name_is_not_named_after_a_journey_either() -> None:
    again = BudgetExceededError(*json.loads(json.dumps(exceeded(known_as="").args)))
    assert exec_as_telemetry("str(error)", again) == exec_as_telemetry("str(error)", exceeded(known_as=""))
    assert "alice" not in exec_as_telemetry("str(error)", again)
    assert "alice" in str(again)
    assert (again.known_as, exceeded(known_as="a user").known_as) == ("", "a user")


def exec_as_telemetry(code: str, error: BaseException) -> str:
    return eval(code, {"__name__": "opentelemetry.sdk.trace", "error": error})  # noqa: S307


def raises() -> None:
    """What a worker process does."""
    raise exceeded()


def test_it_comes_whole_out_of_a_worker_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = pool.submit(raises).exception(60)
    assert isinstance(error, BudgetExceededError)
    assert vars(error) == vars(exceeded())
    with get_context("spawn").Pool(1) as others, pytest.raises(BudgetExceededError) as raised:
        others.apply(raises)
    assert same(raised.value, exceeded())


def test_an_unknown_users_text_is_no_repr() -> None:
    """KeyError would show quotes around it."""
    assert str(UnknownUserError("user 'x' is not known")) == "user 'x' is not known"
    assert str(UnknownUserError()) == ""


def test_refusals_are_raised_with_all_of_it() -> None:
    with BudgetManager(ledger="memory://", clock=lambda: NOON, wait=0) as manager:
        manager.set_limits("alice", "$10/day")
        with manager.hold(cost=9, user="alice") as held:
            with pytest.raises(BudgetExceededError) as refused, manager.hold(cost=2, user="alice"):
                pass
            held.settle(cost=9.5)
        error = refused.value
        assert (error.reason, error.spent, error.held, error.retry_after) == ("held", 0, 9, 1)
        with pytest.raises(BudgetExceededError) as refused, manager.hold(cost=2, user="alice"):
            pass
        error = refused.value
        assert (error.reason, error.spent, error.held, error.retry_after) == ("spent", 9.5, 0, 43_200)
        assert error.resets_at == dt.datetime(2025, 11, 23, tzinfo=dt.UTC)
