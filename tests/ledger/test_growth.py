"""What many accounts and many uncertain charges cost: memory, and how long others wait."""

from __future__ import annotations

import gc
import random
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import AT, calls, canonical, charge, check, cost, dump, give, hold, replayed, route, spent, usd

from budgeted import BudgetManager
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.interface import PAGE, page_of, sums_of
from budgeted.ledger.journal import segment_files, snapshot_files
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory import bound_accounts, daily_rollups, ended_holds, snapshot
from budgeted.ledger.memory.compact_store import CompactStore
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.memory.sorted_names import SortedNames
from budgeted.ledger.memory.state import State
from budgeted.ledger.spending_records import Used

FEW = 200
"""Routes that are kept looked up in these tests, instead of thousands."""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts leave the memory of objects soon."""
    monkeypatch.setattr(bound_accounts, "MOST_ROUTES", FEW)
    monkeypatch.setattr(daily_rollups, "MOST_IN_USE", FEW)


def user(number: int) -> str:
    return f"u:somebody-{number:06}"


def serve(ledger: Any, number: int, *, model: str = "m", day: int = 20_000) -> None:
    """A call that somebody pays for who may never have been seen before."""
    ledger.set_limits(user(number), (), explicit=False, create=True)
    charge(ledger, 7, GLOBAL, user(number), model=model, day=day)


# -- memory


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "journal"])
def test_a_user_that_nobody_budgeted_costs_a_few_hundred_bytes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    monkeypatch.setattr(ended_holds, "REMEMBERED", 2_000)
    ledger = MemoryLedger() if kind == "memory" else JournalLedger(tmp_path / "ledger")
    give(ledger, GLOBAL, usd(10**15))
    taken = []
    tracemalloc.start()
    try:
        for number in range(8_001):
            serve(ledger, number)
            if number in (4_000, 8_000):  # ended holds are remembered, up to twice as many
                ledger.flush()
                gc.collect()
                taken.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    ledger.close()
    assert (taken[1] - taken[0]) / 4_000 < 450


def test_what_was_packed_is_found_again(ledger: Any, few: None) -> None:
    """Spend, limits, open holds and reports are those of an account that was never out of memory."""
    give(ledger, GLOBAL, usd(10**9))
    give(ledger, user(0), usd(1000), calls(3))
    open_hold = hold(ledger, 50, GLOBAL, user(0))
    many = 3 if ledger.remote else 2 * FEW
    for number in range(1, many):
        serve(ledger, number)
    ledger.settle(open_hold.id, Used(20, 1, 1), AT)
    assert spent(ledger, user(0)) == 20
    charge(ledger, 30, GLOBAL, user(0))
    assert spent(ledger, user(0)) == 50
    assert [row.usd for row in ledger.rollups(account=user(0))] == [50]
    assert sum(row.usd for row in ledger.rollups() if row.account == GLOBAL) == 50 + 7 * (many - 1)
    assert spent(ledger, GLOBAL) == 50 + 7 * (many - 1)
    assert [one.id for one in ledger.accounts("u:")] == [user(number) for number in range(many)]
    ledger.reset(user(0), AT)
    ledger.delete(user(1))
    assert spent(ledger, user(0)) == 0
    assert ledger.read(user(1)) is None
    assert user(1) not in [one.id for one in ledger.accounts()]
    check(ledger)


def test_a_journal_of_packed_accounts_is_the_fold_of_its_lines(
    directory: Path, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 300)
    monkeypatch.setattr(segment_files, "drop_before", lambda *_: None)
    ledger = JournalLedger(directory)
    give(ledger, GLOBAL, usd(10**9))
    chance = random.Random(7)
    for number in range(700):
        serve(ledger, chance.randrange(500), model=chance.choice("abc"), day=20_000 + number // 300)
        if number % 90 == 0:
            give(ledger, user(chance.randrange(500)), usd(10**6))
            ledger.reset(user(chance.randrange(500)), AT)
            ledger.delete(user(chance.randrange(500)))
    ledger.flush()
    assert segment_files.numbers(directory, "snapshot")
    assert dump(ledger) == replayed(directory) == replayed(directory, whole=True)
    again = JournalLedger(directory)
    assert dump(again) == dump(ledger)
    again.close()
    ledger.close()


# -- waiting


class Watched:
    """A lock that counts what is encoded while it is held."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._holder = 0
        self.encoded = 0
        self.most = 0

    def locked(self) -> bool:
        return self._lock.locked()

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        return self._lock.acquire(*args, **kwargs)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()
        self._holder = threading.get_ident()
        self.encoded = 0

    def __exit__(self, *_: object) -> None:
        self.most = max(self.most, self.encoded)
        self._holder = 0
        self._lock.release()

    def counting(self, encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        def counted(value: Any) -> bytes:
            if self._holder == threading.get_ident():
                self.encoded += len(value) if isinstance(value, list) else 1
            return encode(value)

        return counted


def test_no_verb_waits_for_a_snapshot_of_all_accounts(
    directory: Path, monkeypatch: pytest.MonkeyPatch, few: None
) -> None:
    """However many accounts there are, little is encoded at a time under the ledger's lock."""
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 6_000)
    monkeypatch.setattr(bound_accounts, "MOST_ROUTES", 5_000)
    ledger = JournalLedger(directory)
    lock: Any = Watched(ledger._lock)
    ledger._lock = lock
    for module, name in ((bound_accounts, "_encode"), (daily_rollups, "_encode"), (snapshot, "encode")):
        monkeypatch.setattr(module, name, lock.counting(getattr(module, name)))
    ledger._state = State()
    ledger._applied = -1
    give(ledger, GLOBAL, usd(10**9))
    for number in range(4_500):
        serve(ledger, number)
    ledger.flush()
    assert segment_files.numbers(directory, "snapshot")
    assert lock.most <= 2 * snapshot.PIECE
    ledger.close()


def test_a_frozen_state_is_what_it_was_while_it_goes_on(few: None) -> None:
    ledger = MemoryLedger()
    give(ledger, GLOBAL, usd(10**9))
    for number in range(3 * FEW):
        serve(ledger, number)
    one = hold(ledger, 5, GLOBAL, user(1))
    state = ledger._state
    before = canonical(state)
    frozen = state.freeze(ledger._lock)
    assert frozen is not None
    assert state.freeze(ledger._lock) is None
    chance = random.Random(3)
    pieces = []
    for piece in frozen.pieces():
        pieces.append(piece)
        for _ in range(60):
            serve(ledger, chance.randrange(4 * FEW), model=chance.choice("mn"))
        ledger.delete(user(chance.randrange(2, FEW)))
        give(ledger, user(chance.randrange(FEW)), usd(chance.randrange(10**6)))
    ledger.settle(one.id, Used(4), AT)
    assert canonical(State.decode(b"".join(pieces))) == before
    now = canonical(state)
    frozen.thaw()
    assert canonical(state) == now != before
    assert canonical(State.decode(state.encode())) == now
    check(ledger)


values = st.integers(0, 9)
names = st.sampled_from("abcdef")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "use", "rest", "cool", "cool all", "pop", "settle", "freeze", "thaw", "find"]),
            names,
            values,
        ),
        max_size=60,
    )
)
def test_a_compact_store_is_a_dictionary_and_keeps_what_it_was(steps: list[tuple[str, str, int]]) -> None:
    store: CompactStore[list[int]] = CompactStore(lambda value: b"%d" % value[0], lambda _, data: [int(data)])
    model: dict[str, int] = {}
    was: dict[str, int] | None = None
    for step, name, value in steps:
        match step:
            case "put":
                store[name] = [value]
                model[name] = value
            case "use" if (found := store.use(name)) is not None:
                found[0] = value
                assert store.find(name) is found
                model[name] = value
            case "rest":
                store.rest(name)
            case "cool":
                store.cool(name)
            case "cool all":
                store.cool()
            case "pop":
                store.pop(name)
                model.pop(name, None)
            case "settle":
                store.settle(2)
            case "freeze" if was is None:
                store.freeze()
                was = dict(model)
            case "thaw" if was is not None:
                while store.settle(1):
                    pass
                assert sorted(store.frozen()) == sorted(b"%d" % one for one in was.values())
                while store.thaw(1):
                    pass
                was = None
            case _:
                found = store.find(name)
                assert (found and found[0]) == model.get(name, found)
        assert {name: value[0] for name, value in store.items()} == model
        assert len(store) == len(model)
        assert all((name in store) == (name in model) for name in "abcdef")


@given(st.lists(st.tuples(st.booleans(), st.text("abc", max_size=3))), st.text("abc", max_size=2), st.integers(0, 5))
def test_a_page_of_names_is_what_a_sorted_list_has(steps: list[tuple[bool, str]], prefix: str, count: int) -> None:
    model: set[str] = {"b", "ba"}
    kept = SortedNames(model)
    with small_groups():
        for add, name in steps:
            (kept.add if add else kept.discard)(name)
            (model.add if add else model.discard)(name)
    for after in (None, "", "a", "ab", "b", "cc"):
        expected = [one for one in sorted(model) if one.startswith(prefix) and (after is None or one > after)]
        assert kept.page(prefix, after, count) == expected[:count]


@contextmanager
def small_groups() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("budgeted.ledger.memory.sorted_names.SIZE", 2)
        yield


def test_others_use_a_ledger_while_it_is_opened(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it holds is read before its lock is taken."""
    monkeypatch.setattr("budgeted.ledger.journal.ledger.ROTATE_LINES", 30)
    first = JournalLedger(directory)
    give(first, GLOBAL, usd(10**9))
    for number in range(30):
        serve(first, number)
    first.flush()
    load, met = snapshot_files.read_snapshot, []

    def loading(where: Path, segment: int) -> Any:
        charge(first, 1, GLOBAL)
        met.append(segment)
        return load(where, segment)

    monkeypatch.setattr(snapshot_files, "read_snapshot", loading)
    second = JournalLedger(directory)
    assert len(met) == 1
    assert spent(second) == spent(first) == 30 * 7 + 1
    assert dump(second) == dump(first)
    second.close()
    first.close()


# -- uncertain charges


def test_sums_of_uncertain_charges_are_those_of_the_list(ledger: Any) -> None:
    for name in (GLOBAL, user(1), user(2)):
        give(ledger, name, usd(10**12))
    chance = random.Random(5)
    many = 12 if ledger.remote else 150
    ids = []
    for _ in range(many):
        names = [GLOBAL, *chance.sample([user(1), user(2)], chance.randrange(3))]
        at = AT + chance.randrange(20_000)
        held = ledger.hold(
            ledger.new_id(), route(ledger, *names, model=chance.choice("mn")), cost(chance.randrange(1, 99)), at
        )
        ledger.settle(held.id, Used(held.usd), AT, "nobody knows")
        ids.append(held.id)
    for id in chance.sample(ids, many // 2):
        if chance.random() < 0.5:
            ledger.correct(id, Used(1), AT)
        else:
            ledger.settle(id, Used(5), AT)  # the answer came late
    wanted = [
        (name, AT + start, AT + end)
        for name in (GLOBAL, user(1), user(2), user(3))
        for start, end in ((-AT, 10**9), (0, 3600), (1234, 9876), (7200, 7200), (3600, 7200))
    ]

    def told(sums: list[dict[str, int]]) -> list[dict[str, int]]:
        return [{model: nano for model, nano in one.items() if nano} for one in sums]

    assert told(ledger.uncertain_sums(wanted)) == told(sums_of(ledger.uncertain(), wanted))
    assert any(told(ledger.uncertain_sums(wanted)))


def calls_made(work: Callable[[], object]) -> int:
    """Function calls that a piece of work makes."""
    count = 0

    def profile(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_balance_is_told_without_going_through_all_uncertain_charges() -> None:
    with BudgetManager("growth", ledger="memory://", max_budget=10**6, clock=lambda: AT) as manager:
        ledger = opened_ledger(manager)

        def uncertain(count: int) -> None:
            for _ in range(count):
                held = hold(ledger, 3, GLOBAL)
                ledger.settle(held.id, Used(3), AT, "nobody knows")

        uncertain(200)
        before = calls_made(manager.balance)
        uncertain(3_000)
        assert manager.balance().uncertain == pytest.approx(3_200 * 3e-9)
        assert calls_made(manager.balance) <= before + 10


def opened_ledger(manager: BudgetManager) -> Any:
    return manager._accounts._payer.ledger


def test_a_page_of_uncertain_charges_is_a_part_of_the_list(ledger: Any) -> None:
    names = [user(1), user(2), user(12), 'u:"; DROP TABLE \\ \n<b>%_', "u:\N{SNOWMAN}\0"]
    for name in (GLOBAL, *names):
        give(ledger, name, usd(10**12))
    assert ledger.uncertain_page() == page_of([], None, 0, 50)
    for number in range(7 if ledger.remote else 25):
        at = AT + number // 2
        held = ledger.hold(ledger.new_id(), route(ledger, GLOBAL, names[number % 5], model=user(1)), cost(number), at)
        ledger.settle(held.id, Used(number), at, "nobody knows" if number != 3 else "")
    listed = ledger.uncertain()
    for name in (None, GLOBAL, *names, user(3), "u:\N{SNOWMAN}"):
        for first, count in ((0, 50), (0, 2), (1, 3), (5, 0), (90, 5)):
            found = ledger.uncertain_page(name, first, count)
            assert found == page_of(listed, name, first, count)
    assert ledger.uncertain_page(count=0).count == len(listed) > 0


# -- who was charged most


def test_those_who_were_charged_most_on_a_day_come_first(ledger: Any, few: None) -> None:
    names = [user(1), user(2), user(3), 'u:"; DROP TABLE \\ \n<b>%_', "u:\N{SNOWMAN}\0"]
    for name in (GLOBAL, *names, "t:x=y"):
        give(ledger, name, usd(10**12))
    assert ledger.spent_most(20_000, 5) == []
    charge(ledger, 900, GLOBAL, user(1), day=19_999)
    for number, name in enumerate(names):
        charge(ledger, 10 * (number + 1), GLOBAL, name, "t:x=y", model="m")
    for model in "mn":
        charge(ledger, 20, GLOBAL, user(1), model=model)  # 50 in all, of two models
    assert ledger.spent_most(20_000, 9) == [names[0], names[4], names[3], names[2], names[1]]
    assert ledger.spent_most(20_000, 2) == [names[0], names[4]]
    assert ledger.spent_most(20_000, 0) == []
    assert ledger.spent_most(20_001, 2) == []


def test_those_who_were_charged_most_are_found_among_many_that_rest(few: None) -> None:
    ledger = MemoryLedger()
    give(ledger, GLOBAL, usd(10**9))
    for number in range(3 * PAGE):
        serve(ledger, number)
    for number in (5, PAGE + 5, 2 * PAGE + 5):
        charge(ledger, number, GLOBAL, user(number))
    found = ledger.spent_most(20_000, 4)
    assert found == [user(2 * PAGE + 5), user(PAGE + 5), user(5), user(0)]
    rows = ledger.rollups(20_000)
    assert len(rows) == 3 * PAGE + 1
    assert sum(row.usd for row in rows if row.account == GLOBAL) == sum(row.usd for row in rows) // 2
