"""What changes of accounts besides their limits: whom they belong to, whether they are stopped, raises for a period."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from budgeted.errors import LedgerUnavailableError
from budgeted.ledger.accounts import GLOBAL, Amendment, Slot, account_kind, account_name
from budgeted.ledger.limit_conversion import limit_of
from budgeted.ledger.limit_terms import as_of
from budgeted.limits.limit import Limit
from budgeted.limits.periods import local_time
from budgeted.manager import declared_belonging
from budgeted.manager.accounts import Accounts
from budgeted.manager.argument_types import Limits
from budgeted.manager.project_payer import MOST_LEVELS, ProjectPayer
from budgeted.manager.stated_belonging import Belonging
from budgeted.telemetry import events
from budgeted.telemetry.events import Event
from budgeted.validation import check_text, shown

logger = logging.getLogger("budgeted")

NO_REASON = "no reason was given"

LONGEST_REASON = 1_000
"""Bytes of the reason for which an account is stopped."""

MOST_TRIES = 50
"""How often a raise is tried again, as the limit has changed meanwhile."""


class AccountChanges:
    """What changes of one project's accounts besides their limits.

    Args:
        payer: whose accounts they are.
    """

    def __init__(self, payer: ProjectPayer) -> None:
        self._payer = payer
        self._accounts = Accounts(payer)
        self._listed: dict[str, list[str]] | None = None  # while settings are declared

    # -- belonging

    def assign(self, user: str, team: str | None) -> None:
        """Have a user belong to a team; None for to nobody any more."""
        ledger, account = self._payer.ledger, self._accounts.name_of(user)
        name = "" if team is None else self._accounts.name_of(team)
        if account == GLOBAL:
            msg = f"everybody pays the global account, which belongs to no team; name a user, got {shown(user)}"
            raise ValueError(msg)
        if not name:
            ledger.amend(account, Amendment(belongs_to=""))
            return
        if account_kind(name) != "user":
            # A call has one value of each tag, as reports have it, and who pays for a key's cap are the blocks with it.
            msg = (
                f"{user!r} can belong to users and teams, such as 'team:search', and to nobody else; got {shown(team)}"
            )
            raise ValueError(msg)
        self._check_levels(user, account, name)
        found = ledger.read(name)
        if found is None or not (found.explicit or found.slots):
            # A team is no user whom nobody has given limits: it does not get those of such users.
            self._payer.limit(name, (), explicit=True)
        before = ledger.read(account)
        ledger.amend(account, Amendment(belongs_to=name))
        try:  # somebody may have assigned one of them meanwhile
            self._check_levels(user, account, name)
        except ValueError:
            ledger.amend(account, Amendment(belongs_to=before.belongs_to if before is not None else ""))
            raise

    def declare_teams(self, belonging: Mapping[str, Belonging]) -> None:
        """Have users belong to teams as settings declare; where the same was declared last, it is left as it is.

        So an operator's change stays until the settings are edited.

        Args:
            belonging: by user; those nearest to the top first.

        Raises:
            ValueError: as :meth:`assign`; the text begins with where that is stated.
        """
        try:
            for user, one in belonging.items():
                if not one.described and self._payer.ledger.read(self._accounts.name_of(one.team)) is None:
                    logger.warning(
                        "budgeted: %s: nobody has heard of %r before, and it has no limits; give it some there, or "
                        "correct the name",
                        one.where,
                        one.team,
                    )
                try:
                    self._declare_team(user, one.team)
                except ValueError as error:
                    msg = f"{one.where}: {error}"
                    raise ValueError(msg) from None
        finally:
            self._listed = None

    def _declare_team(self, user: str, team: str) -> None:
        ledger, account, wanted = self._payer.ledger, self._accounts.name_of(user), self._accounts.name_of(team)
        found = ledger.read(account)
        now = "" if found is None else found.belongs_to
        before = declared_belonging.read(ledger, account)
        if before == wanted:
            if now != wanted:
                logger.info("budgeted: a user belongs to what an operator has set, and not to what settings declare")
            return
        if now != wanted:
            if self._listed is None:  # once for all: going through all users for each would take minutes
                self._listed = self._members()
            self.assign(user, team)
            if account in self._listed.get(now, []):
                self._listed[now].remove(account)
            self._listed.setdefault(wanted, []).append(account)
            if now and now != before:
                logger.warning(
                    "budgeted: a user of project %r belongs to another team now, as settings declare; what an operator "
                    "or another program has set counts no more",
                    self._payer.project_name,
                )
        # Only now: where a program ends in between, the next one declares it again.
        declared_belonging.write(ledger, account, wanted)

    def _check_levels(self, user: str, account: str, team: str) -> None:
        """Refuse that a team belongs to who is to belong to it, and that too many pay for one."""
        chain = [account, team]
        while (found := self._payer.ledger.read(chain[-1])) is not None and found.belongs_to:
            chain.append(found.belongs_to)
            if chain[-1] in chain[:-1] or len(chain) > MOST_LEVELS + 1:
                break
        names = " -> ".join(repr(account_name(one)) for one in chain)
        if len(set(chain)) < len(chain):
            msg = f"{user!r} cannot belong to {account_name(team)!r}, which belongs to {user!r} in the end: {names}"
            raise ValueError(msg)
        below = self._depth_below(account)
        if below + len(chain) - 1 > MOST_LEVELS:
            msg = f"at most {MOST_LEVELS} accounts pay for one, each as the one before belongs to it; got {names}"
            raise ValueError(msg)

    def _depth_below(self, account: str) -> int:
        """How many levels of accounts belong to one."""
        members = self._members() if self._listed is None else self._listed
        depth, level = 0, members.get(account, [])
        while level and depth <= MOST_LEVELS:
            depth += 1
            level = [name for one in level for name in members.get(one, [])]
        return depth

    def _members(self) -> dict[str, list[str]]:
        """The accounts that belong to each one."""
        members: dict[str, list[str]] = {}
        for one in self._accounts.users():
            if one.belongs_to:
                members.setdefault(one.belongs_to, []).append(one.id)
        return members

    # -- stopping

    def stop(self, user: str | None, reason: str) -> None:
        """Refuse every call of a user, or all calls."""
        why = check_text(reason, "reason") if reason else NO_REASON
        if len(why.encode()) > LONGEST_REASON:
            msg = f"reason is in every refusal: write at most {LONGEST_REASON:,} bytes, got {len(why.encode()):,}"
            raise ValueError(msg)
        self._set_stopped(user, why)

    def resume(self, user: str | None) -> None:
        """Let calls go on that were stopped."""
        self._set_stopped(user, "")

    def _set_stopped(self, user: str | None, why: str) -> None:
        payer, account = self._payer, self._accounts.name_of(user)
        payer.ledger.amend(account, Amendment(stopped=why))
        name, kind = account_name(account), account_kind(account)
        event = Event(
            kind="stopped" if why else "resumed",
            at=local_time(payer.clock(), payer.timezone),
            project=payer.project_name,
            account=name,
            account_kind=kind,
            reason=why,
        )
        who = "the global budget" if kind == "global" else f"a {kind}"
        events.report(event, [payer], "budgeted: %s is stopped: %s" if why else "budgeted: %s goes on%s", who, why)

    # -- a raise

    def top_up(self, user: str | None, amount: Limits, until: str) -> None:
        """Let an account spend so much more until the limit's period ends."""
        if until != "period":
            msg = f'until must be "period": what is added ends with the limit\'s period; got {shown(until)}'
            raise ValueError(msg)
        for more in Limit.parse_all(amount):
            if more.period is not None or more.amount <= 0:
                msg = f'write how much is added without a period, such as 5 or "20 calls", got {shown(str(more))}'
                raise ValueError(msg)
            self._raise_tightest(user, more)

    def _raise_tightest(self, user: str | None, more: Limit) -> None:
        """Raise the tightest of an account's limits in this unit, and those that would be in the way then."""
        slots = self._slots(user, more)
        wanted = min(map(_left, slots)) + more.amount
        for slot in slots:
            if _left(slot) < wanted:
                self._raise(user, more, slot, wanted - _left(slot))

    def _raise(self, user: str | None, more: Limit, slot: Slot, amount: int) -> None:
        account = self._accounts.name_of(user)
        for _ in range(MOST_TRIES):
            if self._payer.ledger.amend(account, Amendment(raised=(slot.limit, amount, slot.start, slot.end))):
                return
            # Its next period has begun, or it is gone.
            now = next((one for one in self._slots(user, more) if one.limit == slot.limit), None)
            if now is None:
                return
            slot = now
        msg = f"the limits of {account_name(account)!r} change faster than they can be raised"
        raise LedgerUnavailableError(msg)

    def _slots(self, user: str | None, more: Limit) -> list[Slot]:
        """An account's limits in a unit as they are now, each of which ends with a period."""
        payer, at = self._payer, int(self._payer.clock())
        self._accounts.settle_limits(user)
        account = self._accounts.known(user)
        found = []
        for slot in account.slots:
            limit = limit_of(slot)
            if (limit.unit, limit.models) != (more.unit, more.models):
                continue
            if limit.period is None or limit.period.rolling:
                text = f"{limit} of {account_name(account.id)!r} has no period with which a raise could end"
                msg = f"{text}; give it another amount with set_limits({user!r}, ...)"
                raise ValueError(msg)
            found.append(as_of(slot, *limit.window(at, payer.timezone), at))
        if not found:
            what = "USD" if more.unit == "usd" else more.unit
            msg = f"{account_name(account.id)!r} has no limit in {what} to be raised; give it one with set_limits"
            raise ValueError(msg)
        return found


def _left(slot: Slot) -> int:
    return slot.amount - slot.spent - slot.held
