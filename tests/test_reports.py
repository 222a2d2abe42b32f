"""Reports add up: rows of who has paid, one of what nobody has, and a total, which the global account has spent."""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import DAY, Clock
from hypothesis import given, settings
from hypothesis import strategies as st

from budgeted import BudgetManager, register_price
from budgeted.ledger.spending_records import RollupRow
from budgeted.manager.reports import TOOL
from budgeted.manager.run_books import RunBooks
from budgeted.money import NANO

HEADINGS = ("user", "model", "provider", "day", "tool", "key", "account", "tag:feature")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(clock: Clock) -> Iterator[BudgetManager]:
    with BudgetManager("reports", ledger="memory://", clock=clock, max_budget="$100") as made:
        yield made


def spend(manager: BudgetManager, usd: float, user: str | None = None) -> None:
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)


def spent(manager: BudgetManager, by: str, **days: Any) -> dict[str, float]:
    return {name: row.spent for name, row in manager.report(by, **days).items()}


# -- adding up


def test_what_nobody_in_particular_has_paid_is_a_row_and_the_total_is_all_of_it(manager: BudgetManager) -> None:
    spend(manager, 7)
    spend(manager, 1, "alice")
    report = manager.report()
    assert spent(manager, "user") == {"alice": 1, "(nobody)": 7}
    assert (report.total.spent, report.total.calls, report.rest) == (8, 2, "(nobody)")
    assert report.shared.spent == 0
    assert report[report.rest].calls == 1


def test_nobody_has_no_row_where_users_have_paid_for_everything(manager: BudgetManager) -> None:
    spend(manager, 1, "alice")
    assert spent(manager, "user") == {"alice": 1}
    assert manager.report().rest == ""


def test_a_user_may_be_called_as_the_row_of_nobody(manager: BudgetManager) -> None:
    spend(manager, 1, "(nobody)")
    spend(manager, 2)
    assert spent(manager, "user") == {"(nobody)": 1, "((nobody))": 2}
    assert manager.report().rest == "((nobody))"


def test_caps_with_a_key_have_rows_and_what_is_in_none_has_one(manager: BudgetManager) -> None:
    with manager.budget(cap=5, key="nightly"):
        spend(manager, 0.5, "alice")
    spend(manager, 2, "alice")
    assert spent(manager, "key") == {"nightly": 0.5, "(no key)": 2}


def test_accounts_are_side_by_side_and_the_total_has_each_call_once(manager: BudgetManager) -> None:
    with manager.budget("team:search", cap=5, key="nightly"):
        spend(manager, 0.5, "alice")
    report = manager.report("account")
    assert spent(manager, "account") == {"global": 0.5, "alice": 0.5, "key:nightly": 0.5, "team:search": 0.5}
    assert (report.total.spent, report.shared.spent, report.shared.calls) == (0.5, 1.5, 3)


def test_accounts_that_are_called_alike_are_told_apart(manager: BudgetManager) -> None:
    spend(manager, 1, "global")
    with manager.budget(cap=5, key="a"):
        spend(manager, 2, "key:a")
    assert spent(manager, "account") == {
        "global (global)": 3,
        "key:a (block)": 2,
        "key:a (user)": 2,
        "global (user)": 1,
    }


PLACES = ("memory://", "spend", "sqlite:///spend.db")


@pytest.mark.parametrize("place", PLACES)
def test_a_call_that_several_have_paid_for_is_in_their_rows_and_once_in_the_total(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.chdir(tmp_path)
    with BudgetManager("reports", ledger=place, clock=clock) as manager:
        spend(manager, 7)
        with manager.budget("team:search"), manager.budget("alice"):
            spend(manager, 1)
            with manager.hold(cost=5, user="bob"):
                pass  # nobody says what it has cost
        report = manager.report()
        assert spent(manager, "user") == {"alice": 6, "team:search": 6, "bob": 5, "(nobody)": 7}
        assert (report.total.spent, report.shared.spent, report.shared.calls) == (13, 11, 3)
        manager.reconcile(manager.uncertain()[0].id, cost=2)
    with BudgetManager("reports", ledger=place, clock=clock) as manager:
        if place != "memory://":
            report = manager.report()
            assert spent(manager, "user") == {"alice": 3, "team:search": 3, "bob": 2, "(nobody)": 7}
            assert (report.total.spent, report.total.uncertain, report.shared.spent) == (10, 0, 5)


def test_tags_and_tools_have_rows_and_what_is_neither_has_one(manager: BudgetManager) -> None:
    spend(manager, 7)
    day = manager.ledger.rollups()[0].day
    charged = [("g", 3), ("t:feature=a=b", 1), ("t:feature=search", 2), ("t:features=x", 3), ("u:alice", 3)]
    rows = [RollupRow(day, account, TOOL, "web_search", 1, usd * NANO) for account, usd in charged]
    manager.ledger.restore([], rows, [])
    assert spent(manager, "tag:feature") == {"search": 2, "a=b": 1, "(untagged)": 7}
    assert spent(manager, "tool") == {"web_search": 3, "(no tool)": 7}
    assert spent(manager, "account") == {
        "global": 10,
        "alice": 3,
        "tag:features=x": 3,
        "tag:feature=search": 2,
        "tag:feature=a=b": 1,
    }
    assert manager.report("tag:feature").total.spent == 10


CALLS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["alice", "bob", "team"]), max_size=4),
        st.lists(st.sampled_from(["nightly", "weekly"]), max_size=2),
        st.sampled_from([0, 1, 3, 10**7, 123_456_789]),  # nano-USD
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(CALLS)
def test_reports_of_any_calls_add_up(calls: list[tuple[list[str], list[str], int, bool]]) -> None:
    clock = Clock()
    by_user: dict[str, int] = defaultdict(int)
    by_key: dict[str, int] = defaultdict(int)
    with BudgetManager("any", ledger="memory://", clock=clock) as manager:
        for users, keys, nano, next_day in calls:
            clock.now += DAY * next_day
            with contextlib.ExitStack() as around:
                for user in users:
                    around.enter_context(manager.budget(user))
                for key in keys:
                    around.enter_context(manager.budget(cap=5, key=key))
                spend(manager, nano / NANO)
            for sums, names, nobody in ((by_user, users, "(nobody)"), (by_key, keys, "(no key)")):
                for name in set(names) or {nobody}:
                    sums[name] += nano
        for by, sums in (("user", by_user), ("key", by_key)):
            report = manager.report(by)
            assert {name: round(row.spent * NANO) for name, row in report.items()} == dict(sums)
            total = sum(nano for _, _, nano, _ in calls)
            assert round(report.total.spent * NANO) == total
            assert round(report.shared.spent * NANO) == sum(sums.values()) - total
            assert report.total.calls == len(calls)


def test_a_thousandth_of_a_microdollar_is_not_lost(manager: BudgetManager) -> None:
    for cost in ("0.1", "0.2", "0.000000001"):
        with manager.hold(cost=cost) as held:
            held.settle(cost=cost)
    assert manager.report().total.spent == 0.300000001
    assert ",0.300000001,3," in manager.report("provider").to_csv()


@pytest.mark.parametrize("by", HEADINGS)
def test_every_report_adds_up_to_what_the_global_account_has_spent(
    manager: BudgetManager, clock: Clock, by: str
) -> None:
    register_price("theirs", input=1, output=1, provider="openai")
    spend(manager, 0.25)
    spend(manager, 0.5, "alice")
    clock.now += DAY
    with manager.budget("team"), manager.budget("alice", cap=5, key="nightly"):
        spend(manager, 1)
        with manager.hold("theirs", "x", 50, provider="openai"):
            pass  # nobody says what it used
    report = manager.report(by)
    assert report.total.spent == manager.balance().spent
    assert report.total.uncertain == manager.balance().uncertain > 0
    for figure in ("spent", "calls", "input_tokens", "output_tokens", "uncertain"):
        rows = sum(getattr(row, figure) for row in report.values())
        assert rows - getattr(report.shared, figure) == pytest.approx(getattr(report.total, figure))


def test_runs_of_programs_are_in_no_report_of_keys_or_accounts(manager: BudgetManager) -> None:
    key = RunBooks(manager, "alice", None).key  # type: ignore[arg-type]  # any manager's books will do
    with manager.budget(cap=5, key=key), manager.budget(cap=5, key=f"{key} alice"):
        spend(manager, 1, "alice")
        with manager.budget(cap=3, key="mine"):
            spend(manager, 2, "alice")
    assert spent(manager, "key") == {"mine": 2, "(no key)": 1}
    assert spent(manager, "account").keys() == {"global", "alice", "key:mine"}
    assert [one.name for one in manager.accounts("key:")] == ["key:mine"]


def test_users_who_spent_without_the_global_account_are_not_more_than_all_of_it(manager: BudgetManager) -> None:
    spend(manager, 1, "alice")
    [row] = [row for row in manager.ledger.rollups() if row.account == "u:alice"]
    row.account = "u:bob"  # as a ledger of an older version has it: a call of both
    manager.ledger.restore([], [row], [])
    report = manager.report()
    assert (report.total.spent, report.shared.spent, report.rest) == (1, 1, "")


# -- days


def test_a_report_is_of_the_days_that_are_named_the_last_one_among_them(manager: BudgetManager, clock: Clock) -> None:
    for usd in (1, 2, 4):
        spend(manager, usd, "alice")
        clock.now += DAY
    assert spent(manager, "day", since="2025-11-23") == {"2025-11-23": 2, "2025-11-24": 4}
    assert spent(manager, "day", until="2025-11-23") == {"2025-11-22": 1, "2025-11-23": 2}
    assert spent(manager, "day", since=dt.date(2025, 11, 23), until=dt.datetime.fromisoformat("2025-11-23T00:00")) == {
        "2025-11-23": 2
    }
    report = manager.report(until="2025-11-23")
    assert (report.total.spent, report.since, report.until) == (3, None, dt.date(2025, 11, 23))
    assert manager.report(since="0001-01-01", until="9999-12-31").total.calls == 3
    assert manager.report(until="1969-12-31").total.calls == manager.report(since="9999-12-31").total.calls == 0


def test_a_time_with_an_offset_is_of_its_day_in_the_managers_time_zone(clock: Clock) -> None:
    with BudgetManager(ledger="memory://", clock=clock, timezone="Europe/Berlin") as manager:
        spend(manager, 1, "alice")
        assert manager.report(since="2025-11-21T23:30:00Z").since == dt.date(2025, 11, 22)
        assert manager.report(since=dt.datetime.max.replace(tzinfo=dt.UTC) - dt.timedelta(2)).total.calls == 0


@pytest.mark.parametrize(
    ("days", "told"),
    [
        ({"since": "2025-11-23", "until": "2025-11-22"}, "until='2025-11-22' is before since='2025-11-23'"),
        ({"until": "the 30th"}, "until must be a day such as '2026-11-01', as text, date or datetime; got 'the 30th'"),
        ({"until": 30}, "until must be a day"),
        ({"since": True}, "since must be a day"),
        ({"since": "2025-02-30"}, "'2025-02-30'"),
        ({"by": "tag:"}, "by='tag:' is not known; write one of 'user'"),
        ({"by": "tag:a=b"}, "by='tag:a=b' names one value of a tag; write by='tag:a' for a row of each"),
        ({"by": "tag:\ud800"}, "a tag's name '\\ud800' holds lone surrogates"),
        ({"by": None}, "by=None is not known"),
        ({"by": ["user"]}, "is not known"),
    ],
)
def test_what_is_no_report_is_refused_with_what_to_write(
    manager: BudgetManager, days: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=r"write|must be") as raised:
        manager.report(**days)
    assert told in str(raised.value)


# -- files


HOSTILE = ['=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(A1)", " =1", "\N{FULLWIDTH EQUALS SIGN}1"]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_a_formula_in_a_spreadsheet(manager: BudgetManager, name: str) -> None:
    spend(manager, 1, name)
    [_, row, _] = csv.reader(io.StringIO(manager.report().to_csv(), newline=""))
    assert row[0] == f"'{name}"


@pytest.mark.parametrize(
    "name", ["a,b", 'say "hi"', "two\nlines", "S\N{LATIN SMALL LETTER O WITH DIAERESIS}hne", "'", "a;b\r\nc"]
)
def test_any_name_is_one_cell_of_a_table_and_one_string_of_json(manager: BudgetManager, name: str) -> None:
    register_price(name, input=1, output=1)
    with manager.hold(name, "x", 50) as held:
        held.settle(cost=0.5)
    report = manager.report("model")
    rows = list(csv.reader(io.StringIO(report.to_csv(), newline="")))
    assert rows == [
        ["model", "spent_usd", "calls", "input_tokens", "output_tokens", "uncertain_usd"],
        [name, "0.5", "1", "0", "0", "0.0"],
        ["(total)", "0.5", "1", "0", "0", "0.0"],
    ]
    assert list(csv.reader(io.StringIO(report.to_csv(total=False), newline=""))) == rows[:2]
    told = json.loads(report.to_json())
    assert [(one["name"], one["spent"]) for one in told["rows"]] == [(name, 0.5)]


def test_a_user_who_is_called_as_the_total_is_told_from_it(manager: BudgetManager) -> None:
    spend(manager, 1, "(total)")
    rows = list(csv.reader(io.StringIO(manager.report().to_csv(), newline="")))
    assert [row[0] for row in rows] == ["user", "(total)", "((total))"]


def test_json_has_the_total_the_days_and_what_is_in_several_rows(manager: BudgetManager) -> None:
    spend(manager, 7)
    spend(manager, 1, "alice")
    told = json.loads(manager.report(since="2025-11-01", until="2025-11-30").to_json())
    assert (told["by"], told["since"], told["until"]) == ("user", "2025-11-01", "2025-11-30")
    assert (told["total"]["spent"], told["shared"]["spent"], told["rest"]) == (8, 0, "(nobody)")
    assert [one["name"] for one in told["rows"]] == ["alice", "(nobody)"]


def test_a_notebook_shows_the_total(manager: BudgetManager) -> None:
    with manager.budget("team"):
        spend(manager, 1, "alice")
    assert (
        "Spent by account: $1.00, calls: 1, of which $2.00 is in more than one row"
        in manager.report("account")._repr_html_()
    )


# -- accounts by their names


def test_caps_with_a_key_are_listed_and_have_balances(manager: BudgetManager) -> None:
    for key in ("nightly", "weekly"):
        with manager.budget(cap=5, key=key):
            spend(manager, 0.5, "alice")
    assert [one.name for one in manager.accounts()] == ["alice"]
    assert [(one.name, one.kind) for one in manager.accounts("key:")] == [
        ("key:nightly", "block"),
        ("key:weekly", "block"),
    ]
    assert [one.name for one in manager.accounts("key:", after="key:nightly")] == ["key:weekly"]
    assert [one.name for one in manager.accounts("key:w", count=1)] == ["key:weekly"]
    assert [manager.accounts("key:", after=name) for name in ("zoe", "key:weekly")] == [[], []]
    assert len(manager.accounts("key:", after="alice")) == 2
    assert (manager.balance("key:nightly").limit, manager.balance("key:nightly").remaining) == (5, 4.5)
    assert [one.text for one in manager.balances("key:weekly")] == ["$5"]


def test_a_user_who_is_called_as_a_cap_is_who_is_meant(manager: BudgetManager) -> None:
    with manager.budget(cap=5, key="a"):
        spend(manager, 2, "key:a")
    assert manager.balance("key:a").limit is None
    assert [(one.name, one.kind) for one in manager.accounts("key:")] == [("key:a", "user")]


def test_a_name_that_nobody_has_yet_has_the_default_limits(clock: Clock) -> None:
    with BudgetManager(ledger="memory://", clock=clock, default_user_limits="$1") as manager:
        assert manager.balance("nobody yet").limit == 1
        assert manager.balance("key:").limit == 1  # a user's name
        assert manager.balance("key:never").limit is None
        assert manager.balances("key:never") == []


@pytest.mark.parametrize("name", ["key:\n", "key:" + "x" * 257, "tag:a=" + "x" * 257])
def test_what_is_no_name_of_an_account_is_refused(manager: BudgetManager, name: str) -> None:
    for asked in (manager.balance, manager.accounts):
        with pytest.raises(ValueError, match=r"write 1 to 256|256 are allowed"):
            asked(name)
