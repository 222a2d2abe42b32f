"""``inject()`` and ``extract()``: who pays, carried on purpose to another program, process or host."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st

from budgeted import BudgetError, BudgetExceededError, BudgetManager, CarrierError, extract, hold, inject
from budgeted.payers import scope as scopes

HEADER = "budgeted-payers"
SECRET = "a secret of at least some length"  # noqa: S105 - of these tests


@pytest.fixture
def manager(tmp_path: Path, clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("app", ledger=tmp_path / "ledger", clock=clock) as made:
        yield made


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BUDGETED_SECRET", SECRET)
    return SECRET


def spend(cost: float = 1.0) -> None:
    with hold(cost=cost) as held:
        held.settle(cost=cost)


def spent(manager: BudgetManager) -> dict[str, float]:
    report = manager.report("user")
    return {user: row.spent for user, row in report.items() if user != report.rest}


# -- there and back


@pytest.mark.parametrize("signed", [False, True])
def test_whoever_pays_where_it_is_injected_pays_where_it_is_extracted(
    signed: bool, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    if signed:
        monkeypatch.setenv("BUDGETED_SECRET", SECRET)
    with manager.budget("team"), manager.budget("alice"):
        headers = inject()
    with extract(headers) as payers:
        spend()
    assert payers.users == ("team", "alice")
    assert spent(manager) == {"team": 1, "alice": 1}


def test_a_coroutine_enters_it_as_well(manager: BudgetManager) -> None:
    with manager.budget("alice"):
        headers = inject()

    async def main() -> None:
        async with extract(headers):
            await asyncio.gather(asyncio.to_thread(spend), asyncio.to_thread(spend))

    asyncio.run(main())
    assert spent(manager) == {"alice": 2}


def test_the_blocks_around_pay_as_well(manager: BudgetManager) -> None:
    with manager.budget("alice"):
        headers = inject()
    with manager.budget("service"), extract(headers):
        spend()
    with manager.budget("service"):
        spend()
    assert spent(manager) == {"service": 2, "alice": 1}


def test_it_is_found_in_any_case_and_in_an_environment(manager: BudgetManager) -> None:
    with manager.budget("alice"):
        text = inject()[HEADER]
    for carrier in (
        {"Budgeted-Payers": text},
        {"BUDGETED_PAYERS": text},
        {"HTTP_BUDGETED_PAYERS": text},
        {HEADER: text.encode()},
    ):
        assert extract(carrier).users == ("alice",)


def test_an_environment_gets_a_variable(manager: BudgetManager) -> None:
    environment = {"PATH": "/bin"}
    assert inject(environment) is environment
    assert list(environment) == ["PATH", "BUDGETED_PAYERS"]
    assert list(inject({"accept": "*/*"})) == ["accept", HEADER]
    for wrong in (5, "headers", [("accept", "*/*")], MappingProxyType({})):
        with pytest.raises(TypeError, match="inject takes a mapping to put text into"):
            inject(wrong)  # type: ignore[arg-type]


def test_a_carrier_that_names_nobody_adds_nobody(manager: BudgetManager) -> None:
    with extract({}) as payers, manager.budget("alice"):
        spend()
    assert payers.users == ()
    with extract(inject()):
        spend()
    assert spent(manager) == {"alice": 1}


def test_nothing_of_it_is_baggage_and_nothing_is_left_behind(manager: BudgetManager) -> None:
    from opentelemetry.baggage import get_all

    with manager.budget("alice"):
        headers = inject()
    with extract(headers):
        assert get_all() == {}
    assert scopes.current() is None


def test_a_cap_is_one_for_both_sides(manager: BudgetManager) -> None:
    with manager.budget("alice", cap=3) as block:
        spend()
        headers = inject()
        with extract(headers):
            spend()
        spend()
        with pytest.raises(BudgetExceededError, match=r"a cap of \$"):
            spend()
    with extract(headers), pytest.raises(BudgetExceededError, match=r"a cap of \$"):
        spend()
    assert block.remaining == 0


def test_a_cap_that_came_along_changes_none_that_is_there(manager: BudgetManager, secret: str) -> None:
    with manager.budget(cap=5, key="job"):
        headers = inject()
    with manager.budget(cap=1, key="job"):
        spend()
    with extract(headers), pytest.raises(BudgetExceededError, match=r"a cap of \$1"):
        spend()


def test_a_policy_is_taken_of_a_signed_carrier_alone(manager: BudgetManager, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.set_limits("alice", "$1")
    with manager.budget("alice", on_exceed="warn", wait=float("inf")):
        unsigned = inject()
        monkeypatch.setenv("BUDGETED_SECRET", SECRET)
        signed = inject()
    with extract(signed):
        spend(2)
    monkeypatch.delenv("BUDGETED_SECRET")
    with extract(unsigned), pytest.raises(BudgetExceededError):
        spend(2)


# -- what is refused


def refused(carrier: dict[str, str], **options: Any) -> str:
    with pytest.raises(CarrierError) as caught:
        extract(carrier, **options)
    assert isinstance(caught.value, BudgetError)
    assert isinstance(caught.value, ValueError)
    text = str(caught.value)
    assert text.startswith(f"{HEADER}=")
    assert len(text) < 400
    assert scopes.current() is None
    return text


def alice(manager: BudgetManager) -> str:
    with manager.budget("alice"):
        return inject()[HEADER]


def test_a_forged_carrier_is_refused(manager: BudgetManager, secret: str) -> None:
    version, body, tag = alice(manager).split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    told["accounts"][0]["account"] = "u:bob"
    forged = base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")
    assert "signed with another secret" in refused({HEADER: f"{version}.{forged}.{tag}"})


def test_a_carrier_of_another_secret_is_refused(manager: BudgetManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETED_SECRET", "another")
    text = alice(manager)
    monkeypatch.setenv("BUDGETED_SECRET", SECRET)
    assert "BUDGETED_SECRET" in refused({HEADER: text})
    monkeypatch.delenv("BUDGETED_SECRET")
    assert "set BUDGETED_SECRET" in refused({HEADER: text})


def test_an_unsigned_carrier_is_refused_where_there_is_a_secret(
    manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = alice(manager)
    monkeypatch.setenv("BUDGETED_SECRET", SECRET)
    assert "is not signed" in refused({HEADER: text})


@pytest.mark.parametrize("signed", [False, True])
def test_a_carrier_that_was_cut_off_is_refused_wherever(
    signed: bool, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    if signed:
        monkeypatch.setenv("BUDGETED_SECRET", SECRET)
    text = alice(manager)
    for length in range(len(text)):
        refused({HEADER: text[:length]})


def test_a_stale_carrier_is_refused(manager: BudgetManager, clock: Clock) -> None:
    carrier = {HEADER: alice(manager)}
    clock.now += 86_401
    assert "seconds ago" in refused(carrier)
    assert extract(carrier, max_age=90_000).users == ("alice",)
    clock.now -= 86_401 + 301
    assert "set the clocks" in refused(carrier)


def test_a_carrier_of_another_project_is_refused(manager: BudgetManager, tmp_path: Path, clock: Clock) -> None:
    with BudgetManager("other", ledger=tmp_path / "other", clock=clock) as other, other.budget("alice"):
        carrier = dict(inject())
    assert "is of project 'other', and this process's is 'app'" in refused(carrier)


def test_a_cap_of_another_ledger_is_refused(manager: BudgetManager, tmp_path: Path, clock: Clock) -> None:
    with BudgetManager("app", ledger=tmp_path / "other", clock=clock) as other, other.budget("alice", cap=1):
        carrier = dict(inject())
    assert "name the same ledger=" in refused(carrier)


@given(st.text(max_size=200) | st.text(alphabet="us1.-_abcAB=", max_size=60).map(lambda text: f"1.{text}"))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(CarrierError):
        extract({HEADER: text})


@pytest.mark.parametrize("carrier", [None, "alice", 5, {HEADER: 5}, {HEADER: None}])
def test_what_is_no_carrier_is_told(carrier: Any) -> None:
    with pytest.raises(TypeError, match=r"extract takes a mapping|must be text"):
        extract(carrier)


@pytest.mark.parametrize("age", [-1, "day", None])
def test_an_age_that_makes_no_sense_is_told(age: Any) -> None:
    with pytest.raises(ValueError, match="max_age"):
        extract({}, max_age=age)
