"""What may be true of each hold, from what was acknowledged, and what a ledger has to say in the end.

An answer leaves one possibility. A verb that failed, or whose process was killed, leaves two: it was done or not. The
death of a process adds one: its hold is charged by whoever looks. A power cut adds what was true before, where nothing
was synced since.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ledgers import dump
from plain_model import require, require_equal

from budgeted.ledger.accounts import GLOBAL

Outcome: TypeAlias = tuple[str, int]
"""``absent``, ``open``, ``charged``, ``uncertain`` or ``released``, with nano-USD."""

ABSENT: Outcome = ("absent", 0)


class Books:
    """Possible outcomes by the hold's id, of all processes.

    Args:
        tell: told of each answer.
        synced_always: whether a power cut loses nothing that was acknowledged.
        leases: whether a process that lives may be taken for dead, as it was not heard of.
    """

    def __init__(self, tell: Callable[[str], None], *, synced_always: bool = True, leases: bool = False) -> None:
        self.tell, self.synced_always, self.leases = tell, synced_always, leases
        self.possible: dict[str, set[Outcome]] = {}
        self.ever: dict[str, set[Outcome]] = {}
        self._since_sync: dict[str, set[Outcome]] = {}
        self.limits: set[int] = set()
        self.limited = False
        """Whether a limit was acknowledged."""
        self.highest_limit = 0
        self.overruns = 0
        self.acknowledged = 0
        self.told: list[str] = []
        """Refusals and errors that said that something is wrong with the ledger itself."""
        self.damaged = False
        """Whether a fault was injected that nobody could undo: what it takes has to be told."""
        self.replaced = 0
        """How often all files were replaced by older ones, lock and all: only a process that knew better can tell."""
        self.went_on: dict[str, int] = {}
        """How often they had been when each owner began the last verb that was answered."""

    # -- while the processes run

    def may(self, id: str, *outcomes: Outcome) -> None:
        """A verb is under way: these become possible."""
        self._put(id, self.possible.get(id, {ABSENT}) | set(outcomes))

    def is_now(self, id: str, *outcomes: Outcome) -> None:
        """A verb was answered: only these are possible."""
        self.acknowledged += 1
        self.tell(f"{id} is {' or '.join(map(str, sorted(outcomes)))}")
        self._put(id, set(outcomes))

    def _put(self, id: str, outcomes: set[Outcome]) -> None:
        if self.leases:
            outcomes = outcomes | {("uncertain", usd) for what, usd in outcomes if what == "open"}
        self.possible[id] = outcomes
        self.ever.setdefault(id, {ABSENT}).update(outcomes)
        self._since_sync.setdefault(id, {ABSENT}).update(outcomes)

    def sync_began(self) -> dict[str, set[Outcome]]:
        """What is possible as a flush begins."""
        return {id: set(outcomes) for id, outcomes in self.possible.items()}

    def synced(self, before: dict[str, set[Outcome]]) -> None:
        """A flush was acknowledged: what was true when it began, or came later, is all that a power cut can leave."""
        for id, outcomes in self.possible.items():
            self._since_sync[id] = before.get(id, {ABSENT}) | outcomes

    def owner_died(self, owner: str) -> None:
        """Nobody ends the open holds of this owner: they are charged by whoever looks."""
        for id, outcomes in self.possible.items():
            if id.partition(".")[0] == owner:
                self._abandon(id, outcomes)

    def _abandon(self, id: str, outcomes: set[Outcome]) -> None:
        self._put(id, outcomes | {("uncertain", usd) for what, usd in outcomes if what == "open"})

    def power_was_cut(self) -> None:
        """All processes died, and what was not synced may be gone."""
        self.limited = self.limited and self.synced_always
        for id in list(self.possible):
            kept = set() if self.synced_always else self._since_sync[id]
            self._abandon(id, self.possible[id] | kept)

    # -- in the end

    def check(self, ledger: Any) -> None:
        """Compare a ledger that nobody else uses with what is possible.

        Raises:
            InvariantError: it says something else.
        """
        account = ledger.read(GLOBAL)
        state = ledger._state
        found = {id: ("open", held.usd) for id, (held, _) in state.holds.items()}
        charges = state.charges
        for ended in (*charges.before.values(), *charges.latest.values(), *charges.uncertain.values()):
            require(5, ended.id not in found or found[ended.id][0] != "open", ended.id, "is open and has ended")
            what = "released" if ended.used is None else "uncertain" if ended.reason else "charged"
            found[ended.id] = what, ended.used.usd if ended.used else 0
        require(11, found.keys() <= self.possible.keys(), "nobody made", found.keys() - self.possible.keys())
        self._check_sums(account, found, ledger)
        for id, outcomes in self.possible.items():
            said = found.get(id, ABSENT)
            if said not in outcomes:
                # What a fault took that nobody could undo must have been told; what is left is of some earlier time.
                require(7, self.damaged, f"{id} is {said}, and should be one of {outcomes}")
                knew = self.went_on.get(id.partition(".")[0], 0) == self.replaced
                require(7, bool(self.told) or not knew, f"in silence, {id} became {said} instead of one of {outcomes}")
                earlier = self.ever[id] | {("uncertain", usd) for what, usd in self.ever[id] if what == "open"}
                require(7, said in earlier, f"{id} is {said}, and never was; it was {earlier}")
        require(6, not state.holds, "holds of dead processes are open:", list(state.holds))

    def _check_sums(self, account: Any, found: dict[str, Outcome], ledger: Any) -> None:
        if account is None:
            require(7, self.damaged or not self.limited, "the account has gone")
            require_equal(2, [one for one in found.values() if one != ABSENT], [], "without an account,")
            return
        charged = [usd for what, usd in found.values() if what in ("charged", "uncertain")]
        held = sum(usd for what, usd in found.values() if what == "open")
        require_equal(2, (account.usd, account.calls), (sum(charged), len(charged)), "of the sum of charges,")
        require_equal(2, sum(row.usd for row in ledger.rollups()), sum(charged), "in the report,")
        require_equal(3, account.held, held, "of the sum of open holds,")
        for slot in account.slots:
            require_equal(2, slot.spent, sum(charged), "spent on the limit,")
            require_equal(3, slot.held, held, "held on the limit,")
            require(10, self.damaged or slot.amount in self.limits, f"the limit is {slot.amount}, not of {self.limits}")
            most = self.highest_limit + self.overruns
            require(1, slot.spent + slot.held <= most, f"{slot.spent} + {slot.held} passes {most}")


def check_reopened(one: Any, other: Any) -> None:
    """Invariant 4: who opens the ledger anew knows what the other knows."""
    require(4, dump(one) == dump(other), "opened anew it is", dump(other), "and was", dump(one))
