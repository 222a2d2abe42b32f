"""The verbs of a ledger over another one that the other one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from budgeted.ledger.accounts import Account, Amendment, LimitSpec
from budgeted.ledger.cost_routing import Route
from budgeted.ledger.interface import Granted, Ledger
from budgeted.ledger.spending_records import Charge, RollupRow, UncertainPage
from budgeted.ledger.whole_content import Content


class PassedOn:
    """Base of a ledger over another one: what it is asked for, and told about accounts, goes there.

    Args:
        shared: the other one.
    """

    def __init__(self, shared: Ledger) -> None:
        self.shared_ledger = shared
        self.place = shared.place
        self.remote = shared.remote
        self.at_hand = True
        self.shared = shared.shared

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shared_ledger!r})"

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self.shared_ledger.closed

    @property
    def poll(self) -> float | None:
        """Seconds at most between two tries of a call that waits; None where news of other processes wake it."""
        return self.shared_ledger.poll

    @property
    def clock(self) -> Callable[[], float]:
        """Unix seconds."""
        return self.shared_ledger.clock

    @clock.setter
    def clock(self, clock: Callable[[], float]) -> None:
        self.shared_ledger.clock = clock

    @property
    def hold_timeout(self) -> float:
        """Seconds after which a hold that nobody ended is charged."""
        return self.shared_ledger.hold_timeout

    @hold_timeout.setter
    def hold_timeout(self, seconds: float) -> None:
        self.shared_ledger.hold_timeout = seconds

    def new_id(self) -> str:
        """A hold id that no other process makes."""
        return self.shared_ledger.new_id()

    # -- what changes accounts: what was spent before has to be told before

    def give_back(self, account: str | None = None) -> int:
        """Give back what is out of an account's limits, or of all of them. Returns how many slices that were."""
        raise NotImplementedError

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Give an account these limits; a limit it has keeps its spend. ``create`` leaves an existing account alone."""
        self.give_back(account)
        self.shared_ledger.set_limits(account, limits, explicit=explicit, create=create)

    def reset(self, account: str, at: int) -> None:
        """Forget what an account has spent; open holds stay."""
        self.give_back(account)
        self.shared_ledger.reset(account, at)

    def set_periods(self, account: str, limits: Sequence[LimitSpec]) -> int:
        """Put limits of an account that have begun a later period back into these. Returns how many there were."""
        self.give_back(account)
        return self.shared_ledger.set_periods(account, limits)

    def amend(self, account: str, change: Amendment) -> bool:
        """Change something of an account besides its limits. Returns False where nothing was changed."""
        self.give_back(account)
        return self.shared_ledger.amend(account, change)

    def delete(self, account: str) -> None:
        """Forget an account and its limits. What it was charged stays in the reports."""
        self.give_back(account)
        self.shared_ledger.delete(account)

    def restore(
        self, accounts: Sequence[Account], rows: Sequence[RollupRow], charges: Sequence[tuple[Charge, Route]]
    ) -> None:
        """Take over accounts, report rows and uncertain charges of another ledger, as they are; nothing is counted."""
        self.give_back()
        self.shared_ledger.restore(accounts, rows, charges)

    # -- what is asked for: what is in slices counts as held

    def read(self, account: str) -> Account | None:
        """A copy of an account, or None."""
        return self.shared_ledger.read(account)

    def read_limits(self, account: str) -> Account | None:
        """The same, as calls are planned by it."""
        return self.shared_ledger.read_limits(account)

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[Account]:
        """Accounts in order of their ids: those with a prefix, behind ``after``, at most ``count``."""
        return self.shared_ledger.accounts(prefix, after, count)

    def rollups(self, since: int = 0, account: str | None = None) -> list[RollupRow]:
        """The report's rows from a day on, of one account or of all."""
        return self.shared_ledger.rollups(since, account)

    def spent_most(self, day: int, count: int) -> list[str]:
        """The users that were charged most on a day, the dearest first."""
        return self.shared_ledger.spent_most(day, count)

    def uncertain(self) -> list[Charge]:
        """Charges that nobody confirmed, oldest first."""
        return self.shared_ledger.uncertain()

    def uncertain_page(self, account: str | None = None, first: int = 0, count: int = 50) -> UncertainPage:
        """Some of them, of an account or of all, from the one with a number on, and what all of these come to."""
        return self.shared_ledger.uncertain_page(account, first, count)

    def uncertain_sums(self, wanted: Sequence[tuple[str, int, int]]) -> list[dict[str, int]]:
        """Nano-USD per model that nobody confirmed, of an account's calls opened in a time, for each wanted one."""
        return self.shared_ledger.uncertain_sums(wanted)

    def open_holds(self) -> Sequence[Granted]:
        """The holds of calls in flight, of all processes, each slice as one."""
        return self.shared_ledger.open_holds()

    def everything(self) -> Content:
        """All that it knows, as it is at one instant, though calls go on."""
        return self.shared_ledger.everything()

    def damage(self) -> list[str]:
        """What is wrong with the files that it is kept in, as far as that can be asked for; a sentence each."""
        return self.shared_ledger.damage()

    # -- upkeep

    def renew(self, owner: str, seconds: float) -> None:
        """Count a process that speaks to this one, by the owner in its holds' ids, as alive for so long."""
        self.shared_ledger.renew(owner, seconds)

    def watch(self) -> None:
        """Look for news in the background from now on, as calls of this process wait for it."""
        self.shared_ledger.watch()

    def idle(self) -> bool:
        """Whether a finaliser may call a verb now."""
        return self.shared_ledger.idle()

    def repair(self) -> int:
        """Write back what this process knows, where the ledger was lost or has gone backwards. Returns how much."""
        return self.shared_ledger.repair()
