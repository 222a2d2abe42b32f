"""An exception of a signal's handler, at any bytecode, leaves no hold, no place in a queue and no lock behind."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from typing import NoReturn

import interrupted_calls as calls
import pytest
from calls_of_every_kind import WAYS, Place
from interrupting import Strike

from budgeted.providers import stainless_generated_sdks
from budgeted.testing import SimulatedProvider

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # it may strike in a finaliser
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # and before an SDK has closed what it opened
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture(scope="module", params=["memory", "journal"])
def place(
    request: pytest.FixtureRequest, provider: SimulatedProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    ledger = "memory://" if request.param == "memory" else str(tmp_path_factory.mktemp("interrupts") / "ledger")
    made = Place(provider, ledger=ledger)
    yield made
    made.close()


SEED = 0 if os.environ.get("CI") else random.randrange(2**32)  # one in CI: its verdict belongs to a commit


def sample(place: Place, name: str, count: int) -> list[int]:
    """Some of the bytecodes that a way comes by."""
    print("seed", SEED)
    total = calls.length(place, WAYS[name])
    return sorted(random.Random(f"{SEED} {name}").sample(range(1, total + 1), count))


# Every kind of call, every kind of exception and each await are struck by the proof, in a process of their own.
@pytest.mark.parametrize("name", ["decorated", "decorated_generator", "hold", "set_aside", "queue"])
def test_an_interrupted_call_leaves_nothing_behind(place: Place, name: str) -> None:
    for number in sample(place, name, 3):
        calls.struck(place, WAYS[name], Strike(number))


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [False, True])
def test_a_stream_that_is_read_on_is_charged_wherever_its_end_is_interrupted(place: Place, *, at_once: bool) -> None:
    for number in itertools.count(1):
        strike = Strike(number, at_once=at_once, within="_end_soon", locked=place.locked)
        calls.struck(place, WAYS["stream_read_on_async"], strike)
        if not strike.where:
            break
    assert number > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "within", "at_once"),
    [
        # Not at once: what strikes as they return has the block be entered, and never left.
        ("set_aside", "BudgetAhead.__enter__", False),
        ("set_aside_async", "BudgetAhead.__aenter__", False),
        ("set_aside", "BudgetAhead.__exit__", False),
        ("set_aside", "SetAside.take", True),
        ("set_aside_async", "SetAside.take_beside", True),
    ],
)
def test_nothing_stays_set_aside_wherever_its_block_is_interrupted_at_its_begin_or_end(
    place: Place, name: str, within: str, *, at_once: bool
) -> None:
    for number in itertools.count(1):
        strike = Strike(number, at_once=at_once, within=within, locked=place.locked)
        calls.struck(place, WAYS[name], strike)
        if not strike.where:
            break
    assert number > 5


def test_a_hold_that_is_entered_and_forgotten_is_charged_all_it_may_have_cost(place: Place) -> None:
    block = place.block()
    with block:
        place.manager.hold(cost="0.25").__enter__()
    calls.settled(place)
    assert (block.spent, block.held) == (0.25, 0)
    assert place.manager.ledger.open_holds() == []
    assert place.manager.uncertain()[-1].reason == "forgotten before it ended"


def test_an_answer_whose_reading_is_interrupted_is_charged(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(response: object) -> NoReturn:
        raise KeyboardInterrupt

    before = calls.Before(place)
    with monkeypatch.context() as patched:
        patched.setattr(stainless_generated_sdks, "read_whole", interrupted)
        with pytest.raises(KeyboardInterrupt) as kept:
            WAYS["plain"](place)
    calls.settled(place)
    assert place.manager.ledger.open_holds() == []
    before.compare(str(kept.value))
