"""Who pays, as another process is told of it: the payers, their accounts and caps, in the order of the blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from budgeted.ledger.accounts import account_kind, account_name
from budgeted.limits.limit import Limit
from budgeted.payers import scope as scopes
from budgeted.payers.block import Budget
from budgeted.payers.block_figures import BlockFigures, Taken, reserving
from budgeted.payers.cap_text import Cap, read_cap
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import CarriedPayer, Group, Payer
from budgeted.payers.scope import Scope, joined, with_shared_caps

CarriedLimits: TypeAlias = tuple[tuple[str, int, int], ...]
"""Ids of limits, each with its amount, and what it keeps when a period ends."""


class CarriedAccount(msgspec.Struct, frozen=True):
    """An account that pays.

    Args:
        payer: whose it is, as an index.
        account: the ledger's name of it.
        policy: what happens to a call that does not fit; None for the payer's own.
        within: the id of the hold that the block's calls draw on, as it has set its cap aside; "" for none.
        cap: what a block may spend; None for a user and a tag, and for a block that only counts.
    """

    payer: int
    account: str
    policy: Policy | None = None
    cap: CarriedLimits | None = None
    within: str = ""

    @property
    def limits(self) -> Cap | None:
        """The cap.

        Raises:
            ValueError: it is none.
        """
        return None if self.cap is None else read_cap([Limit.from_id(*one) for one in self.cap], lasting=True)


class CarriedPayers(msgspec.Struct, frozen=True):
    """The payers of some code, for another process. It pickles.

    Args:
        payers: whom the code's calls are charged to, the outermost block's first; then the default manager's, if it is
            none of them.
        accounts: of users, blocks and tags, by payer.
        inside: how many of the payers the code's blocks have; 0 for code outside every block.
        innermost: the payer of the innermost block, as an index; -1 if there is no block.
    """

    payers: tuple[CarriedPayer, ...]
    accounts: tuple[CarriedAccount, ...] = ()
    inside: int = 0
    innermost: int = 0

    def arrive(self) -> tuple[Payer, ...]:
        """The payers in this process. Those that cannot pay here are there all the same, and refuse."""
        return tuple(payer.arrive() for payer in self.payers)

    def scope(self, parent: Scope | None = None) -> Scope | None:
        """The scope of the code's blocks, made anew here, inside another one; that one if the code is in no block."""
        payers = self.arrive()
        if not self.inside:
            return parent
        return enclosed(parent, payers[: self.inside], self.accounts, self.innermost)


def enclosed(
    parent: Scope | None, payers: tuple[Payer, ...], accounts: tuple[CarriedAccount, ...], innermost: int
) -> Scope:
    """A scope of payers and accounts that came from elsewhere, inside ``parent``.

    Args:
        parent: the scope around, if there is one.
        payers: at least one.
        accounts: of them.
        innermost: the payer whose manager the code inside uses, as an index; -1 for the default one.
    """
    scope = parent
    blocks = () if parent is None else parent.blocks
    for payer in payers:
        scope = joined(scope, payer, None, None)
    for one in accounts:
        payer, name = payers[one.payer], account_name(one.account)
        if account_kind(one.account) == "user":
            scope = joined(scope, payer, name, one.policy)
        elif one.cap is not None:
            block = Budget(payer, cap=one.limits, key=name, policy=one.policy)
            payer.limit_block(one.account, block.limits, block, lasting=True)
            if one.within:
                reserving.count += 1
                block.taken = Taken(tuple(slot.unit for slot in block.slots), ((payer, one.within),))
            scope = joined(scope, payer, None, one.policy, one.account)
            blocks = (*blocks, block)
        else:
            scope = joined(scope, payer, None, one.policy, one.account)
    assert scope is not None  # noqa: S101 - there is a payer
    scope.blocks, scope.payer = blocks, payers[innermost] if innermost >= 0 else None
    return scope


def carried(scope: Scope | None) -> CarriedPayers | None:
    """The payers of a scope, or of code outside every block, for another process; None where nobody pays.

    From here on, caps without a key are shared with that process, whichever it is.

    Args:
        scope: who pays; None for code outside every block.
    """
    default, scope = scopes.by_default, scopes.whole(scope)
    if scope is None:
        return CarriedPayers((default[0].front.carried(),)) if default else None
    payers, accounts, innermost = described(scope)
    inside = len(payers)
    payers += [payer for payer in default if payer not in payers]
    return CarriedPayers(tuple(payer.front.carried() for payer in payers), accounts, inside, innermost)


def described(scope: Scope) -> tuple[list[Payer], tuple[CarriedAccount, ...], int]:
    """A scope's payers, their accounts, and which payer is the innermost block's, with each cap shared from here on."""
    for block in scope.blocks:
        block.share()
    groups = with_shared_caps(scope.groups, scope.blocks)
    blocks = {kept[0]: block for block in scope.blocks if (kept := block.kept) is not None}
    accounts = tuple(one for index, group in enumerate(groups) for one in accounts_in(group, index, blocks))
    payers = [group.payer for group in groups]
    none = -1 if scope.payer is None else 0
    return payers, accounts, next((index for index, payer in enumerate(payers) if payer is scope.payer), none)


def carried_limits(limits: Sequence[Limit]) -> CarriedLimits:
    """A cap's limits, as another process is told of them."""
    return tuple((limit.id, limit.amount, limit.keep) for limit in limits)


def accounts_in(group: Group, index: int, blocks: Mapping[str, BlockFigures]) -> list[CarriedAccount]:
    """A group's accounts but the global one, which each payer has.

    Args:
        group: the accounts of one payer.
        index: the payer's.
        blocks: those with a cap, by the ledger's names of their accounts.
    """
    own, found = group.payer.policy, []
    for account, policy in zip(group.accounts[1:], group.policies[1:], strict=True):
        block = blocks.get(account)
        kept = None if block is None else block.kept
        cap = None if kept is None else carried_limits(kept[1])
        within = "" if block is None or block.taken is None else block.taken.at(group.payer)
        found.append(CarriedAccount(index, account, None if policy == own else policy, cap, within))
    return found
