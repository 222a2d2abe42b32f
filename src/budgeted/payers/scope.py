"""Who pays: the blocks that a call runs inside, carried in the OpenTelemetry context.

A scope is immutable and belongs to the context it was attached to. It is read once, when a call begins; whatever
happens to the context afterwards, the call settles with those who opened it.
"""

from __future__ import annotations

import hashlib
from contextvars import Token
from typing import Protocol

import msgspec
from opentelemetry.context import Context, attach, create_key, detach, get_current, get_value, set_value

from budgeted.fork_locks import SECONDS
from budgeted.ledger.accounts import block_account, user_account
from budgeted.payers.block_figures import BlockFigures
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import Group, Payer
from budgeted.payers.purpose_tags import Accounts
from budgeted.system.forks import at_fork
from budgeted.wire.normalized_request import Request

KEY = create_key("budgeted-scope")
"""Where the scope lives in the OpenTelemetry context. Nothing of it is baggage: it never leaves the process."""

BY_HAND = create_key("budgeted-by-hand")
"""Where the OpenTelemetry context has a weak reference to an open hold, whose owner settles what no hook can see."""


class OpenCall(Protocol):
    """A call that holds, as the scopes around it know it."""

    groups: tuple[Group, ...]
    blocks: tuple[BlockFigures, ...]

    def takes_over(self, request: Request) -> bool:
        """Whether its hold covers a request that is made inside it."""

    def abandon(self) -> None:
        """Give its hold back: another one is made in its place."""


THE_FUNCTION = "the function itself"
"""Who takes a function's own call over, if nobody inside has: no object that refers to the offer, for the collector."""


class Offer(msgspec.Struct, eq=False):
    """An open call that somebody inside its function may take over, who then ends it.

    Args:
        call: the open call.
        takers: who wanted it, the first of whom has it: who was interrupted while taking it can tell whether it has.
    """

    call: OpenCall
    takers: list[object] = []

    def take(self, taker: object) -> bool:
        """Take the call over, unless another one has. It may be asked again by whoever has it."""
        self.takers.append(taker)
        return self.takers[0] is taker


class Scope(msgspec.Struct, eq=False):
    """The payers of the calls made in one context.

    Args:
        groups: the accounts, by payer, the outermost block's first.
        blocks: every enclosing block, the outermost first.
        payer: the innermost block's.
        offer: an open call that the first intercepted call in here takes over; inner scopes share it.
        silent: True where an outer layer meters what happens inside, such as where its request is being sent.
        unmetered: True where nothing is metered, in blocks that are entered there as well: in tests.
        call: the call that this layer meters.
        paid_hosts: hosts at which all that is posted in here counts as paid for, so that the hooks of the transport
            meter or refuse it, and no layer above need do so; None where only what is recognised does.
        token: what leaving the context it was made current in takes.
    """

    groups: tuple[Group, ...]
    blocks: tuple[BlockFigures, ...] = ()
    payer: Payer | None = None
    offer: Offer | None = None
    silent: bool = False
    unmetered: bool = False
    call: OpenCall | None = None
    paid_hosts: frozenset[str] | None = None
    token: Token[Context] | None = None

    def copy(self) -> Scope:
        """The same payers, to be entered elsewhere."""
        return Scope(
            self.groups,
            self.blocks,
            self.payer,
            self.offer,
            self.silent,
            self.unmetered,
            paid_hosts=self.paid_hosts,
        )


def joined(
    parent: Scope | None,
    payer: Payer,
    user: str | None,
    policy: Policy | None,
    block: str | None = None,
    tags: Accounts = (),
) -> Scope:
    """The payers of ``parent``, and a payer's global account, a user, a keyed block and tags.

    Raises:
        ValueError: there are too many tags.
    """
    groups = () if parent is None else parent.groups
    for group in groups:
        if group.payer is payer:
            break
    else:
        group = payer.group
        groups = (*groups, group)
    paying = group
    if user is not None:
        if policy is None and user.__class__ is str:
            paying = paying.with_user(user)[0]
        else:
            paying = paying.join(user_account(user), policy or payer.policy)
    if block is not None:
        paying = paying.join(block, policy or payer.policy)
    if tags:
        paying = paying.tag(tags, policy or payer.policy)
    if paying is not group:
        groups = (paying,) if len(groups) == 1 else tuple(paying if one is group else one for one in groups)
    if user is not None and counted_apart:
        groups = _with_account_of_run(groups, user)
    if parent is None:
        return Scope(groups, (), payer)
    unmetered = parent.unmetered
    return Scope(groups, parent.blocks, payer, parent.offer, unmetered, unmetered, paid_hosts=parent.paid_hosts)


counted_apart: list[tuple[Payer, str]] = []
"""Where ``budgeted run`` runs this: who pays for the run, and the key under which each user's part of it is counted."""

_LONGEST_USER = 200
"""Bytes of a user's name that fit into the name of its account in a run, behind the run's key."""


def _with_account_of_run(groups: tuple[Group, ...], user: str) -> tuple[Group, ...]:
    """Some accounts, and the one of what a user spends in this run: its own does not tell that from the rest."""
    if len(user.encode()) > _LONGEST_USER:
        user = f"sha256:{hashlib.sha256(user.encode()).hexdigest()}"
    for payer, key in counted_apart:
        account = block_account(f"{key} {user}")
        groups = tuple(group.join(account, payer.policy) if group.payer is payer else group for group in groups)
    return groups


def unmetered() -> Scope:
    """The payers of the running code, who pay for nothing."""
    around = current()
    if around is None:
        return Scope((), silent=True, unmetered=True)
    return Scope(around.groups, around.blocks, around.payer, silent=True, unmetered=True)


def with_shared_caps(groups: tuple[Group, ...], blocks: tuple[BlockFigures, ...]) -> tuple[Group, ...]:
    """The accounts that a call in some blocks is charged to, and those of caps that came to be shared meanwhile."""
    for block in blocks:
        if block.shared is not None and block.kept is not None:
            account, rest = block.kept
            block.payer.limit_block(account, rest, block)
            groups = tuple(
                group.join(account, block.policy) if group.payer is block.payer else group for group in groups
            )
    return groups


def current() -> Scope | None:
    """The scope of the running code, or None outside every block."""
    found: Scope | None = get_value(KEY)  # type: ignore[assignment]
    if finder:
        found = finder[0].found(found)
    return inherited[0] if found is None and inherited else found


def enter(scope: Scope, context: Context | None = None) -> Token[Context]:
    """Make a scope current, in ``context`` or else in the running one. Returns what ends it in the same frame."""
    before = get_current() if context is None else context
    context = Context(before)
    _set_item(context, KEY, scope)
    try:
        token = scope.token = attach(context)
    except BaseException:  # a signal's handler has raised: with a token that nobody got, nothing can be ended
        if get_current() is context:
            attach(before)
        raise
    return token


def leave(scope: Scope) -> None:
    """End a scope that this context entered; elsewhere, as where a forgotten generator is collected, do nothing."""
    token = scope.token
    if token is not None:
        if get_current().get(KEY) is scope:
            detach(token)
        elif finder:
            finder[0].uncover(scope, token)
        scope.token = None  # at last: who was interrupted can do it again


_set_item = dict.__setitem__
"""A context refuses changes once it is shared; this is one that nobody else has seen yet."""


class Finder(Protocol):
    """Finds the scopes of generators, which leave theirs in whatever context their steps are taken in."""

    def found(self, current: Scope | None) -> Scope | None:
        """The scope of the running code, by what its context says and by the generators that it runs inside."""

    def uncover(self, scope: Scope, token: Token[Context]) -> None:
        """End a scope that a suspended generator's covers in this context."""


finder: list[Finder] = []
"""None while no generator has opened a block: then asking costs nothing."""

inherited: list[Scope] = []
"""The scope that this whole process was started in, if another one has started it in a block."""

outside: list[Scope] = []
"""The scope of calls outside every block: the one inherited, else the default manager's, once there is one."""

by_default: list[Payer] = []
"""The default manager's payer, once there is one."""

always: list[Group] = []
"""Accounts that all calls of this process are charged to besides, in whatever context they are made: a test run's."""


def cover(payer: Payer | None) -> None:
    """Have the default manager's payer pay for calls outside every block; None where there is none."""
    by_default[:] = [] if payer is None else [payer]
    _cover_outside()


def charge_always(group: Group, before: Group | None = None) -> None:
    """Charge all calls of this process to some accounts besides, until :func:`charge_no_more`.

    Args:
        group: the accounts.
        before: accounts of the same payer, which were charged so until now.
    """
    always[:] = [*(one for one in always if one is not before), group]
    _cover_outside()


def charge_no_more(group: Group) -> None:
    """Have accounts pay for nothing that their own blocks do not."""
    always[:] = [one for one in always if one is not group]
    _cover_outside()


def paying(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """The accounts that a call is charged to: those of its scope, and those that all calls are charged to."""
    payers = [group.payer for group in groups]
    return (*groups, *(group for group in always if group.payer not in payers))


def whole(scope: Scope | None) -> Scope | None:
    """A scope, or that of code outside every block, with those who pay for all calls; None where nobody pays so."""
    if not always:
        return scope
    around = scope or next(iter(outside), Scope(()))
    return Scope(paying(around.groups), around.blocks, around.payer or next(iter(by_default), None))


def _cover_outside() -> None:
    outside[:] = inherited or [Scope((payer.group,)) for payer in by_default] or [Scope(()) for _ in always[:1]]


def inherit(scope: Scope | None) -> None:
    """Have all calls of this process be made in a scope that it was started in; None for none."""
    inherited[:] = [] if scope is None else [scope]
    _cover_outside()


def hide() -> None:
    """Have the running code, from here on, be outside every block that this process has opened."""
    attach(set_value(KEY, None))


def _before_fork() -> None:
    """A child has a copy of each cap: from here on, both spend of one that the ledger keeps."""
    scope = current()
    for block in () if scope is None else scope.blocks:
        block.share(SECONDS)


# Later than that of the caps' own lock, and so called before it.
at_fork(before=_before_fork)
