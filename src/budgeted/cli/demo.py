"""``budgeted demo``: a race for a small budget, a kill in the middle, and the bill compared. Needs no key."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import click
import msgspec

from budgeted.cli.demo_view import Taken, View
from budgeted.cli.table_cells import Amount, Cell
from budgeted.cli.table_output import Output, show
from budgeted.demo import race as races
from budgeted.demo.bill_and_ledger import Comparison, compare, spent_by_bill
from budgeted.demo.deferred_signals import ENDING, deferred
from budgeted.demo.planned_calls import CALLS, EVERYBODY, LIMITS, MODEL, STARTS, USERS, Race
from budgeted.demo.race import Progress, RaceError, Starter
from budgeted.manager.administrative_manager import Books
from budgeted.money import NANO, format_usd, nano_usd, to_usd
from budgeted.testing import SimulatedProvider

MOST_THREADS: Final = 64
PAYERS: Final = (EVERYBODY, *USERS)


@click.command()
@click.option(
    "--threads",
    type=click.IntRange(1, MOST_THREADS),
    default=24,
    show_default=True,
    help="How many threads each of the two processes has.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Which calls are made, for whom, and how long the answers are. Who comes first is up to the race.",
)
def demo(threads: int, seed: int) -> None:
    """Show that limits hold: a race for a small budget, with a kill -9 in the middle. No key, no network.

    Threads of two processes call a provider that is simulated on this machine: plain answers, streams, and streams that
    they leave. One process is killed and started again. First each process counts for itself, as people write it; then
    all have budgets. At the end, every single call is looked up in the provider's bill and in the ledger.

    It takes about ten seconds, and leaves nothing behind. Exit code 0: all is as promised. 1: it is not.
    """
    if not show_race([sys.executable, "-m", "budgeted.demo"], threads=threads, seed=seed):
        sys.exit(1)


def show_race(command: Sequence[str], *, threads: int, seed: int) -> bool:
    """Run both races, and print what became of them; True if all is as promised.

    Args:
        command: what begins the command line of a process that races.
        threads: how many each has.
        seed: which calls are made.

    Raises:
        ClickException: a process failed.
    """
    view = View(STARTS * CALLS, {payer: nano_usd(limit, "limit", up=False) for payer, limit in LIMITS.items()})
    view.tell(
        _wrapped(
            f"{STARTS * CALLS} calls to {MODEL}, at a provider simulated on this machine, from {threads} threads of "
            f"each of two processes, for a budget of ${LIMITS[EVERYBODY]}, and of ${LIMITS['alice']} for alice: too "
            f"little for all of them."
        )
    )
    try:
        with _tidied() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budgeted-demo-")))
            provider = stack.enter_context(SimulatedProvider(seed=seed))
            stack.enter_context(view.shown())
            race = Race(provider.openai_url, "", threads, seed)
            counted = _by_counters(provider, Starter(race, command, folder), view)
            race = msgspec.structs.replace(race, ledger=str(folder / "ledger"))
            found, most_held = _by_budgets(provider, Starter(race, command, folder), view)
    except BrokenPipeError:  # nobody reads on, which is no failure of the race
        raise
    except (RaceError, OSError) as error:
        raise click.ClickException(f"the race could not be run: {error}") from error
    _print(found, counted, most_held)
    return found.good


def _by_counters(provider: SimulatedProvider, starter: Starter, view: View) -> dict[str, int]:
    """The race of counters; what the provider billed, by who pays."""
    view.begin("\n1. Each process keeps a counter: asked before a call, told after it what the answer says it used.")
    billed: dict[str, int] = {}

    def tick(progress: Progress) -> None:
        billed.update(spent_by_bill(provider.bill, starter.race))
        taken = {payer: Taken(spent) for payer, spent in billed.items()}
        view.update(len(progress.made), len(progress.refused), taken)

    tick(races.run(starter, tick, view.killed))
    _settle(provider)
    billed.update(spent_by_bill(provider.bill, starter.race))
    provider.reset()
    return billed


def _by_budgets(provider: SimulatedProvider, starter: Starter, view: View) -> tuple[Comparison, dict[str, int]]:
    """The race of budgets; its books, and the most that was seen to be held at once, by who pays."""
    view.begin("\n2. The same with budgeted: what a call may cost is held before it is sent, in one ledger for all.")
    most_held = dict.fromkeys(PAYERS, 0)
    with Books("demo", ledger=starter.race.ledger) as books:

        def tick(progress: Progress) -> None:
            taken = {payer: _taken(books, payer) for payer in PAYERS}
            for payer, amounts in taken.items():
                most_held[payer] = max(most_held[payer], amounts.held)
            view.update(len(progress.made), len(progress.refused), taken)

        progress = races.run(starter, tick, view.killed)
    _settle(provider)
    # Opened anew: whoever opens a ledger charges what those who died have held.
    with Books("demo", ledger=starter.race.ledger) as books:
        return compare(provider.bill, books, starter.race, progress.refused), most_held


def _settle(provider: SimulatedProvider) -> None:
    """Have the provider notice who has left, so that its bill is final."""
    provider.release()
    provider.wait_idle()


def _taken(books: Books, payer: str) -> Taken:
    balance = books.balance(None if payer == EVERYBODY else payer)
    return Taken(*(round(figure * NANO) for figure in (balance.spent, balance.uncertain, balance.held)))


def _print(found: Comparison, counted: Mapping[str, int], most_held: Mapping[str, int]) -> None:
    """Print the books of both races as a table that explains itself, and what follows from it."""
    columns = [found.columns[payer] for payer in PAYERS]
    rows: list[tuple[str, Sequence[Cell]]] = [
        ("the limit", [_exact(column.limit) for column in columns]),
        ("1. counters: billed", [_exact(counted[payer]) for payer in PAYERS]),
        ("2. budgeted: calls sent", [column.sent for column in columns]),
        ("   refused before they were sent", [column.refused for column in columns]),
        ("   most held at once, as seen", [_exact(most_held[payer]) for payer in PAYERS]),
        ("   billed, and told in the answer", [_exact(column.reported) for column in columns]),
        ("   the same calls in the ledger", [_exact(column.settled) for column in columns]),
        ("   billed, and told to nobody", [_exact(column.unreported) for column in columns]),
        ("   the same calls, as they were held", [_exact(column.uncertain) for column in columns]),
        ("   all that is charged in the ledger", [_exact(column.spent) for column in columns]),
    ]
    click.echo()
    show(None, ("", *PAYERS), [(name, *cells) for name, cells in rows], Output(), nothing="")
    click.echo(f"\n{_in_words(found, counted)}")


def _in_words(found: Comparison, counted: Mapping[str, int]) -> str:
    """What the table says."""
    everybody = found.columns[EVERYBODY]
    over = max(0, counted[EVERYBODY] - (everybody.limit or 0))
    if not found.good:
        odd = (f"{payer}: {column}" for payer, column in found.columns.items() if not column.agrees)
        return "\n".join(["NOT as promised", *found.wrong[:5], *odd])
    return _wrapped(
        f"The counters let {format_usd(over)} more pass than the limit: each knew only the calls of its own process, "
        f"and those only when they were through, nothing of streams that were left, and forgot all when it was killed."
        f"\n\nWith budgeted no limit was passed. Of answers that told their usage, {format_usd(everybody.reported)} "
        f"was billed, and {format_usd(everybody.settled)} is in the ledger: equal to the nano-dollar."
        f"\n\nEstimates lie above the bill, {format_usd(everybody.uncertain)} for {format_usd(everybody.unreported)}: "
        f"nobody tells what a stream that was left, or a call whose process was killed, has cost, and it is charged "
        f"what was held. So the ledger is never below the bill, and the limit holds for the bill, too; `budgeted "
        f"reconcile` replaces each such figure by the invoice's, and what was held in excess can be spent again.\n\n"
        f"as promised"
    )


def _wrapped(text: str) -> str:
    """Paragraphs in lines that a reader's eye can follow."""
    return click.wrap_text(text, 96, preserve_paragraphs=True)


def _exact(nano: int | None) -> Amount:
    """A cell with nano-USD, to the nano-dollar."""
    return Amount(None if nano is None else to_usd(nano), exact=True)


@contextmanager
def _tidied() -> Iterator[ExitStack]:
    """What is entered is left in any case: also where the demo is ended by a signal, or Ctrl-C comes twice."""
    mine = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, _end) for number in ENDING} if mine else {}
    stack = ExitStack()
    try:
        yield stack
    finally:
        with deferred():
            stack.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
